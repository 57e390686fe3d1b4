// Package atomicfile writes whole files so that a reader, and a machine that
// loses power, sees the old content or the new one and never a part. Every
// path is relative to an os.Root, so nothing is written outside it. It knows
// nothing of what the files mean.
package atomicfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// TempPrefix starts the name of every file that is being written. One that is
// found without a writer was left by a crash; the next write of the same file
// takes its place.
const TempPrefix = ".aplomb."

// IsTemp says whether a file name (not a path) is one of a file being written.
func IsTemp(name string) bool { return strings.HasPrefix(name, TempPrefix) }

// Create makes the file name with exactly these permissions whatever the
// umask. A file that is already there, even one that appeared while this one
// was written, stays as it is and gives fs.ErrExist. The folder must exist;
// two writers of one name must not run at once.
func Create(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	return write(root, name, data, mode, link)
}

// Replace makes the file name or takes its place; a link that is found there
// is replaced and not followed. Otherwise it is as Create.
func Replace(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	return write(root, name, data, mode, (*os.Root).Rename)
}

// ReplaceAt is Replace of the file at a path, in the folder that it lies in.
func ReplaceAt(at string, data []byte, mode fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(at))
	if err != nil {
		return err
	}
	return errors.Join(Replace(root, filepath.Base(at), data, mode), root.Close())
}

func write(root *os.Root, name string, data []byte, mode fs.FileMode, commit func(*os.Root, string, string) error) error {
	temp := tempName(name)
	if err := fill(root, temp, data, mode); err != nil {
		return errors.Join(err, removed(root, temp))
	}
	if err := commit(root, temp, name); err != nil {
		return errors.Join(err, removed(root, temp))
	}
	return SyncDir(root, path.Dir(name))
}

// link gives temp its name without replacing what has it. Where the file
// system has no hard links, it looks first and then renames.
func link(root *os.Root, temp, name string) error {
	err := root.Link(temp, name)
	switch {
	case err == nil:
		return root.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return err
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EMLINK):
		if _, err := root.Lstat(name); err == nil {
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		return root.Rename(temp, name)
	default:
		return err
	}
}

func fill(root *os.Root, temp string, data []byte, mode fs.FileMode) (err error) {
	f, err := exclusive(root, temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

// exclusive makes the temporary file anew, so that nothing left there, be it
// a link, is written through.
func exclusive(root *os.Root, temp string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := root.OpenFile(temp, flags, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if err := root.Remove(temp); err != nil {
		return nil, err
	}
	return root.OpenFile(temp, flags, 0o600)
}

// Clean removes what a crash left of a write of name. It is for a file that
// is not written again.
func Clean(root *os.Root, name string) error { return removed(root, tempName(name)) }

func removed(root *os.Root, name string) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tempName is the same for every write of a file, so that leftovers do not
// pile up, and short whatever the file's name.
func tempName(name string) string {
	sum := sha256.Sum256([]byte(path.Base(name)))
	return path.Join(path.Dir(name), TempPrefix+hex.EncodeToString(sum[:12]))
}

// MkdirAll makes the folder dir and those above it, down from root, and makes
// them durable. It answers the ones that it made, outermost first, also when
// it fails.
func MkdirAll(root *os.Root, dir string, mode fs.FileMode) (made []string, err error) {
	if info, err := root.Stat(dir); err == nil && info.IsDir() {
		return nil, nil
	}
	parts := strings.Split(dir, "/")
	for i := range parts {
		p := path.Join(parts[:i+1]...)
		if err := root.Mkdir(p, mode); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return made, err
		}
		made = append(made, p)
		if err := SyncDir(root, path.Dir(p)); err != nil {
			return made, err
		}
	}
	if info, err := root.Stat(dir); err != nil {
		return made, err
	} else if !info.IsDir() {
		return made, &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return made, nil
}

// SyncDir makes durable which names the folder dir holds.
func SyncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}
