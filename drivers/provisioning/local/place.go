package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// MaxPath is the length in bytes of the longest path of a file.
const MaxPath = 1024

const filePrefix = "file/"

// place is where a file lies: at rel below the folder base, which rel never
// leaves, not even through links.
type place struct{ base, rel string }

func (p place) abs() string { return filepath.Join(p.base, p.rel) }

func (d *Driver) fileAddress(spec json.RawMessage) (string, error) {
	var s struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		return "", driverkit.Refuse("read", FileKind, fmt.Errorf("path: %w", err), "")
	}
	if schema.HasMark(s.Path) {
		return "", driverkit.Refuse("read", s.Path, errors.New("a path may not hold a reference: it is the file's address"), "")
	}
	if err := checkPath(s.Path); err != nil {
		return "", driverkit.Refuse("read", FileKind, err, "")
	}
	clean := path.Clean(s.Path)
	if rel, ok := below(d.Root, clean); ok {
		clean = rel
	}
	if _, err := d.place(filePrefix + clean); err != nil {
		return "", err
	}
	return filePrefix + clean, nil
}

// checkPath refuses what no file should be called, whatever folder it is in.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("an empty path")
	case len(p) > MaxPath:
		return fmt.Errorf("a path of %d bytes (at most %d)", len(p), MaxPath)
	case !utf8.ValidString(p):
		return fmt.Errorf("the path %q is not UTF-8", p)
	case strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("the path %q holds a control character", p)
	case strings.HasSuffix(p, "/"):
		return fmt.Errorf("the path %q is a folder's", p)
	case atomicfile.IsTemp(path.Base(p)):
		return fmt.Errorf("the path %q: names that start with %s are kept for files being written", p, atomicfile.TempPrefix)
	}
	for step := range strings.SplitSeq(p, "/") {
		if len(step) > 255 {
			return fmt.Errorf("the path %q: a step of %d bytes (at most 255)", p, len(step))
		}
	}
	return nil
}

// place finds a handle's folder and what is left of the path below it.
func (d *Driver) place(handle string) (place, error) {
	p, err := trim(handle, filePrefix)
	if err != nil {
		return place{}, err
	}
	where := place{base: d.Root, rel: p}
	if path.IsAbs(p) {
		if where, err = d.allowed(p); err != nil {
			return place{}, err
		}
	} else if !filepath.IsLocal(p) || p == "." {
		return place{}, driverkit.Refuse("find", p, errors.New("the path leaves the root"), "write a path below the environment's root, or an absolute one that the configuration allows")
	}
	for _, no := range append([]string{d.Dir}, d.Deny...) {
		if rel, ok := below(no, where.abs()); ok || rel == "." {
			return place{}, driverkit.Refuse("find", p, errors.New("the path lies in a folder that no file may lie in"), "")
		}
	}
	return where, nil
}

func (d *Driver) allowed(p string) (place, error) {
	best := place{}
	for _, dir := range d.Allow {
		if rel, ok := below(dir, p); ok && len(dir) > len(best.base) {
			best = place{dir, rel}
		}
	}
	if best.base == "" {
		return place{}, driverkit.Refuse("find", p, errors.New("an absolute path outside the folders that are allowed"), "let the operator allow the folder in the configuration")
	}
	return best, nil
}

// below answers what is left of p below dir; ok is false where p does not lie
// strictly below it, and rel is "." where it is dir itself.
func below(dir, p string) (rel string, ok bool) {
	if dir == "" || !filepath.IsAbs(p) {
		return "", false
	}
	rel, err := filepath.Rel(dir, p)
	if err != nil {
		return "", false
	}
	return rel, rel != "." && filepath.IsLocal(rel)
}

// roots are the folders that one call has open.
type roots map[string]*os.Root

func (r roots) open(dir string) (*os.Root, error) {
	if root := r[dir]; root != nil {
		return root, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	r[dir] = root
	return root, nil
}

// make opens a folder that may not be there yet.
func (r roots) make(dir string) (*os.Root, error) {
	root, err := r.open(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return r.open(dir)
}

// close gives the folders back. They were only read through, so an error of
// closing them loses nothing.
func (r roots) close() {
	for _, root := range r {
		_ = root.Close()
	}
}
