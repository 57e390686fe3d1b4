package git

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/config"
)

// checkFormat refuses repositories that keep their objects or refs in a way
// that this package cannot read. Nothing else of a repository's configuration
// has any effect.
func checkFormat(name string) error {
	text, err := readSmall(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	cfg, err := config.ReadConfig(bytes.NewReader([]byte(text)))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	ext := cfg.Raw.Section("extensions")
	for _, o := range ext.Options {
		switch key := strings.ToLower(o.Key); {
		case key == "worktreeconfig", key == "preciousobjects", strings.HasPrefix(key, "noop"):
		case key == "objectformat" && strings.EqualFold(o.Value, "sha1"):
		case key == "refstorage" && strings.EqualFold(o.Value, "files"):
		default:
			return fmt.Errorf("the repository uses the extension %s = %s, which is not supported", o.Key, o.Value)
		}
	}
	return nil
}

// initBare makes an empty bare repository, if it is not there.
func initBare(path string) error {
	if _, err := os.Stat(filepath.Join(path, "HEAD")); err == nil {
		return nil
	}
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			return fmt.Errorf("make the mirror: %w", err)
		}
	}
	files := map[string]string{
		"config": "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n",
		"HEAD":   "ref: refs/heads/main\n",
	}
	for _, name := range []string{"config", "HEAD"} { // HEAD last: it says that the rest is there
		if err := writeAtomic(filepath.Join(path, name), []byte(files[name])); err != nil {
			return fmt.Errorf("make the mirror: %w", err)
		}
	}
	return nil
}

// writeAtomic replaces a file as a whole, durably.
func writeAtomic(name string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncPath(filepath.Dir(name))
}

// syncPath waits until a file or folder would survive a crash.
func syncPath(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
