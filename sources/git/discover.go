package git

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// layout is where a repository keeps what: its own folder, and the one that it
// shares with its other work trees.
type layout struct {
	git    string
	common string
}

var errNoRepository = errors.New("not a Git repository")

// discover finds the repository at path: a work tree, a linked work tree, a
// bare repository, or a .git folder itself. It does not look above path.
func discover(path string) (layout, error) {
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	switch {
	case err == nil && info.IsDir():
		return shared(dot)
	case err == nil && info.Mode().IsRegular():
		return linked(path, dot)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return layout{}, fmt.Errorf("look at %s: %w", dot, err)
	}
	for _, name := range []string{"HEAD", "objects"} {
		if _, err := os.Stat(filepath.Join(path, name)); err != nil {
			return layout{}, fmt.Errorf("%s: %w", path, errNoRepository)
		}
	}
	return shared(path)
}

// linked follows a .git file, which a linked work tree and a submodule have.
func linked(path, dot string) (layout, error) {
	text, err := readSmall(dot)
	if err != nil {
		return layout{}, err
	}
	target, ok := strings.CutPrefix(text, "gitdir: ")
	if !ok || target == "" {
		return layout{}, fmt.Errorf("%s: %w: no gitdir line", dot, errNoRepository)
	}
	return shared(under(path, target))
}

func shared(git string) (layout, error) {
	text, err := readSmall(filepath.Join(git, "commondir"))
	if errors.Is(err, os.ErrNotExist) {
		return layout{git: git, common: git}, nil
	}
	if err != nil {
		return layout{}, err
	}
	return layout{git: git, common: under(git, text)}, nil
}

func under(base, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}

// Bounds of what a repository borrows from: so many folders, and so far from one
// to the next.
const (
	mostAlternates = 100
	deepAlternates = 5
)

// alternates are the folders of objects that dir borrows from, theirs too, each
// once: two may name each other.
func alternates(dir string) ([]string, error) {
	var out []string
	err := borrowed(dir, deepAlternates, map[string]bool{filepath.Clean(dir): true}, &out)
	return out, err
}

func borrowed(dir string, depth int, seen map[string]bool, out *[]string) error {
	text, err := readSmall(filepath.Join(dir, "info", "alternates"))
	if errors.Is(err, os.ErrNotExist) || depth == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		next := under(dir, line)
		if seen[next] {
			continue
		}
		if seen[next] = true; len(*out) == mostAlternates {
			return fmt.Errorf("it borrows from more than %d others", mostAlternates)
		}
		*out = append(*out, next)
		if err := borrowed(next, depth-1, seen, out); err != nil {
			return err
		}
	}
	return nil
}

const maxSmall = 64 << 10

// readSmall reads a file of a line or a few, without the last line's end.
func readSmall(name string) (string, error) { return readAtMost(name, maxSmall) }

// readAtMost is readSmall for a file of up to a limit, in bytes.
func readAtMost(name string, limit int) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > limit {
		return "", fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
