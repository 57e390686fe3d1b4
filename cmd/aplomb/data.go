package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/schema"
)

// Files and folders of a data folder.
const (
	recordFile   = "environment.json"
	keyFile      = "key"
	storeFile    = "store.db"
	logFile      = "log"
	filesDir     = "files"
	portsDir     = "ports"
	secretsDir   = "secrets"
	servicesDir  = "services"
	processesDir = "processes"
	stacksDir    = "stacks"
	gitDir       = "git"
	cacheDir     = "cache"
	statusDir    = "status"
)

// keySize is the length in bytes of an environment's key.
const keySize = 32

// maxRecord bounds what is read of environment.json.
const maxRecord = 1 << 20

// record is environment.json: what an environment is, for good, and what it
// follows.
type record struct {
	Format int    `json:"format"`
	ID     string `json:"id"` // 128 random bits as hex; made once
	Name   string `json:"name"`
	Root   string `json:"root,omitempty"` // where relative paths of files lie; "": files in the data folder
	Source follow `json:"source,omitzero"`

	Templates string                     `json:"templates,omitempty"` // absolute path of a folder; "": those that are shipped
	Policies  string                     `json:"policies,omitempty"`  // likewise; "": none
	Values    map[string]json.RawMessage `json:"values,omitempty"`    // what both know of the environment

	Store  bool   `json:"store,omitempty"`  // the store was made: if it is missing, it is lost
	Daemon string `json:"daemon,omitempty"` // the configuration that says what it follows and drives; "": it is not a daemon's
}

// folder is an open data folder.
type folder struct {
	path string // absolute, without symbolic links
	record
}

func (f *folder) join(name string) string { return filepath.Join(f.path, name) }

// errNoData is a data folder that does not exist, which never means "nothing
// is owned".
var errNoData = errors.New("there is no data folder")

// openFolder opens a data folder that exists.
func openFolder(path string) (*folder, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing(abs)
	} else if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f := &folder{path: real}
	if f.record, err = readRecord(f.join(recordFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, missing(abs)
	} else if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", abs, err)
	}
	return f, nil
}

func missing(path string) error {
	return hinted{fmt.Errorf("%w at %s", errNoData, path),
		"aplomb up makes one, apply --init too; --data or APLOMB_DATA names another"}
}

func readRecord(path string) (record, error) {
	var r record
	in, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer func() { _ = in.Close() }()
	b, err := io.ReadAll(io.LimitReader(in, maxRecord))
	if err != nil {
		return r, fmt.Errorf("read %s: %w", recordFile, err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, hinted{fmt.Errorf("read %s: %w", recordFile, err), "restore it from a backup; without it nobody knows which environment this is"}
	}
	id, err := hex.DecodeString(r.ID)
	switch {
	case r.Format != 1:
		return r, hinted{fmt.Errorf("%s has format %d", recordFile, r.Format), "it was written by another version of aplomb"}
	case err != nil || len(id) != 16:
		return r, fmt.Errorf("%s: %q is not an environment's id", recordFile, r.ID)
	case !schema.ValidName(r.Name):
		return r, fmt.Errorf("%s: %q is not an environment's name", recordFile, r.Name)
	}
	return r, nil
}

// makeFolder opens a data folder, and makes it first where it is missing, for
// a new environment.
func makeFolder(path, name string) (*folder, error) {
	if name == "" {
		name = "local"
	}
	return makeFolderFor(path, record{Format: 1, ID: hex.EncodeToString(random(16)), Name: name})
}

// makeFolderFor is makeFolder with what an environment is, where the folder is
// missing.
func makeFolderFor(path string, r record) (*folder, error) {
	f, err := openFolder(path)
	if !errors.Is(err, errNoData) {
		return f, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	unlock, err := lockFolder(path) // of two that make it at once, the second finds it made
	if err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	defer unlock()
	if err := empty(path); err != nil {
		return nil, err
	}
	if err := once(path, keyFile, random(keySize)); err != nil {
		return nil, fmt.Errorf("make the environment's key: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := once(path, recordFile, append(b, '\n')); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	return openFolder(path)
}

// lockFolder waits until nobody else makes the data folder at path.
func lockFolder(path string) (unlock func(), err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return func() { _ = dir.Close() }, nil
}

// empty refuses a folder that holds something else than the beginnings of a
// data folder: it would be somebody else's.
func empty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("look at data folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != keyFile && e.Name() != recordFile && !atomicfile.IsTemp(e.Name()) {
			return hinted{fmt.Errorf("%s is not a data folder: it holds %q and no %s", path, e.Name(), recordFile), "name another one with --data, or restore this one whole"}
		}
	}
	if err := os.Chmod(path, 0o700); err != nil { // only now is it known to be ours
		return fmt.Errorf("protect data folder: %w", err)
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}

// once writes a file that only this user can read, whole or not at all,
// durably. One that exists already stays.
func once(dir, name string, data []byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := atomicfile.Create(root, name, data, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// errNoStore is a store that was there and is not any more, which never means
// "nothing is owned" either.
var errNoStore = errors.New("the store is missing, and it was there before")

// hasStore refuses a data folder whose store is lost.
func (f *folder) hasStore() error {
	if _, err := os.Stat(f.join(storeFile)); f.Store && errors.Is(err, fs.ErrNotExist) {
		return hinted{fmt.Errorf("data folder %s: %s: %w", f.path, storeFile, errNoStore),
			"restore the data folder from a backup; nothing was changed"}
	}
	return nil
}

// stored writes down, for good, that there is a store. Who calls it holds the
// store's lock. What else the record says in memory is not written.
func (f *folder) stored() error {
	if f.Store {
		return nil
	}
	now, err := openFolder(f.path)
	if err != nil {
		return err
	}
	now.Store, f.Store = true, true
	return now.save()
}

// save writes environment.json again.
func (f *folder) save() error {
	b, err := json.MarshalIndent(f.record, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", recordFile, err)
	}
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return fmt.Errorf("write %s: %w", recordFile, err)
	}
	defer func() { _ = root.Close() }()
	if err := atomicfile.Replace(root, recordFile, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", recordFile, err)
	}
	return nil
}

// key is the environment's key. It has to be there: another one would make
// every fingerprint another.
func (f *folder) key() ([]byte, error) {
	b, err := os.ReadFile(f.join(keyFile))
	if err == nil && len(b) != keySize {
		err = fmt.Errorf("it has %d bytes, not %d", len(b), keySize)
	}
	if err != nil {
		return nil, hinted{fmt.Errorf("the environment's key: %w", err), "restore it from a backup"}
	}
	return b, nil
}

// derive makes a key for one purpose of the environment's key.
func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte("aplomb " + purpose + " v1"))
	return h.Sum(nil)
}
