package git

import (
	"context"
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/sources"
)

// PagesFolder is where the pages of proposals stand in an environment's folder.
const PagesFolder = "proposals"

// Bounds of what is read of pages. Others may write to the branch: what is
// beyond is dropped, since it is not ours.
const (
	mostPages = 5000
	maxPage   = 4 << 20
	maxPages  = MaxReport
	deepest   = 32
)

// Pages reads the pages of an environment's proposals, by their path below
// PagesFolder; none where there are none.
func (r *Reporter) Pages(ctx context.Context, environment string) (map[string][]byte, error) {
	files, err := r.pages(ctx, environment)
	if err != nil {
		return nil, fmt.Errorf("read the pages of %s on branch %s of %s: %w", environment, r.cfg.Branch, r.at, err)
	}
	return files, nil
}

func (r *Reporter) pages(ctx context.Context, environment string) (map[string][]byte, error) {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	base, err := r.base(ctx)
	if err != nil || base.IsZero() {
		return nil, err
	}
	c, err := r.store.commit(base)
	if err != nil {
		return nil, err
	}
	at := c.TreeHash
	for _, name := range []string{environment, PagesFolder} {
		t, err := r.store.tree(at)
		if err != nil {
			return nil, err
		}
		if at = child(t.Entries, name); at.IsZero() {
			return nil, nil
		}
	}
	return r.store.files(at)
}

// child is a folder among entries, or zero.
func child(entries []object.TreeEntry, name string) plumbing.Hash {
	for _, e := range entries {
		if e.Name == name && e.Mode == filemode.Dir {
			return e.Hash
		}
	}
	return plumbing.ZeroHash
}

// Revise alters the pages of an environment's proposals in one commit: change is
// given what stands there now, by path below PagesFolder, and may be called more
// than once. Where it alters nothing there is no commit.
func (r *Reporter) Revise(ctx context.Context, environment, title string, change func(files map[string][]byte) error) error {
	err := checkReport(sources.Report{Environment: environment})
	if err == nil {
		err = r.write(ctx, writing{environment, title, func(d *draft, old []object.TreeEntry) ([]object.TreeEntry, error) {
			return d.revised(old, environment, change)
		}})
	}
	if err != nil {
		return fmt.Errorf("write pages of %s to branch %s of %s: %w", environment, r.cfg.Branch, r.at, err)
	}
	return nil
}

// revised are the entries of an environment's folder with other pages.
func (d *draft) revised(old []object.TreeEntry, environment string, change func(map[string][]byte) error) ([]object.TreeEntry, error) {
	files := map[string][]byte{}
	if at := child(old, PagesFolder); !at.IsZero() {
		var err error
		if files, err = d.store.files(at); err != nil {
			return nil, err
		}
	}
	if err := change(files); err != nil {
		return nil, err
	}
	if err := checkReport(sources.Report{Environment: environment, Files: files}); err != nil {
		return nil, err
	}
	var next []object.TreeEntry
	for _, e := range old {
		if e.Name != PagesFolder {
			next = append(next, e)
		}
	}
	if len(files) == 0 {
		return next, nil
	}
	h, err := d.folder(files)
	return append(next, object.TreeEntry{Name: PagesFolder, Mode: filemode.Dir, Hash: h}), err
}

// files reads the plain files of a folder, within bounds.
func (s *store) files(at plumbing.Hash) (map[string][]byte, error) {
	out := map[string][]byte{}
	left := int64(maxPages)
	return out, s.gather(at, "", deepest, &left, out)
}

func (s *store) gather(at plumbing.Hash, dir string, deep int, left *int64, out map[string][]byte) error {
	t, err := s.tree(at)
	if err != nil {
		return err
	}
	for _, e := range t.Entries {
		name := path.Join(dir, e.Name)
		switch {
		case !validName(e.Name) || hasControl(e.Name) || len(out) >= mostPages:
		case e.Mode == filemode.Dir && deep > 0:
			if err := s.gather(e.Hash, name, deep-1, left, out); err != nil {
				return err
			}
		case e.Mode == filemode.Regular:
			size, err := s.size(e.Hash)
			if err != nil {
				return err
			}
			if size > maxPage || size > *left {
				continue
			}
			*left -= size
			if out[name], err = s.read(plumbing.BlobObject, e.Hash, maxPage); err != nil {
				return err
			}
		}
	}
	return nil
}
