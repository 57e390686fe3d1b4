package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
)

// folderRecord remembers a folder that this driver made for a file, so that it
// goes with the last file in it. Folders that it did not make stay.
type folderRecord struct {
	Format int    `json:"format"`
	Path   string `json:"path"`
}

// pathName is the name of the record about a path.
func pathName(abs string) string {
	sum := sha256.Sum256([]byte(abs))
	return hex.EncodeToString(sum[:16])
}

// makeFolders makes what is missing above a file, with mode 0755 less the
// umask. A crash before a folder is remembered only means that it stays.
func (d *Driver) makeFolders(root *os.Root, where place) error {
	made, err := atomicfile.MkdirAll(root, path.Dir(where.rel), 0o755)
	for _, dir := range made {
		abs := filepath.Join(where.base, dir)
		if _, e := d.folders.Replace(pathName(abs), folderRecord{1, abs}); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

// removeFolders removes the folders above a deleted file, innermost first, as
// far as they are empty and were made by this driver.
func (d *Driver) removeFolders(root *os.Root, where place) error {
	for dir := path.Dir(where.rel); dir != "."; dir = path.Dir(dir) {
		name := pathName(filepath.Join(where.base, dir))
		if _, err := d.folders.Get(name); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		err := root.Remove(dir)
		switch {
		case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, fs.ErrExist):
			return nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := d.folders.Delete(name); err != nil {
			return err
		}
	}
	return nil
}
