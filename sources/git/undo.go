package git

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/aplomb-dev/aplomb/sources"
)

// Undone are the edits, on top of a revision, that bring the folder that is
// followed back to what it was in an earlier one.
type Undone struct {
	Edits []Edit
	Left  []string // paths that cannot be brought back so: of submodules, with names that Branch does not write, and where a folder became a file or the other way round
}

// Undo compares whole files, by hash. What lies outside of the folder that is
// followed stays as it is.
func (s *Source) Undo(ctx context.Context, since, back sources.Revision) (Undone, error) {
	u, err := s.undo(ctx, since, back)
	if err != nil {
		return Undone{}, fmt.Errorf("undo what came between %s and %s of %s: %w", back.Short(), since.Short(), s.at, err)
	}
	return u, nil
}

func (s *Source) undo(ctx context.Context, since, back sources.Revision) (Undone, error) {
	var sides [2]*tree
	for i, rev := range []sources.Revision{since, back} {
		snap, err := s.read(ctx, rev)
		if err != nil {
			return Undone{}, err
		}
		sides[i] = snap.FS.(*tree)
	}
	d := &difference{now: sides[0], then: sides[1]}
	err := d.folders("", sides[0].root, sides[1].root)
	return d.out, err
}

// Read reads a revision that this source has, without putting it in force.
func (s *Source) Read(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	snap, err := s.read(ctx, rev)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", rev.Short(), s.at, err)
	}
	return snap, nil
}

func (s *Source) read(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	h, err := parseHash(rev.ID)
	if err != nil {
		return nil, err
	}
	if err := s.ensure(ctx, h); err != nil {
		return nil, err
	}
	return s.snapshot(h)
}

// difference gathers what makes one tree of another.
type difference struct {
	now, then *tree
	out       Undone
	bytes     int
}

// folders compares two folders; a zero hash is one that is not there.
func (d *difference) folders(at string, now, then plumbing.Hash) error {
	if now == then {
		return nil
	}
	if err := checkLength(at); err != nil {
		return err
	}
	sides := [2]map[string]entry{{}, {}}
	var names []string
	for i, side := range []struct {
		t *tree
		h plumbing.Hash
	}{{d.now, now}, {d.then, then}} {
		if side.h.IsZero() {
			continue
		}
		list, err := side.t.dir(side.h)
		if err != nil {
			return err
		}
		for _, e := range list {
			sides[i][e.name] = e
			names = append(names, e.name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := d.entry(path.Join(at, name), sides[0][name], sides[1][name]); err != nil {
			return err
		}
	}
	return nil
}

// entry compares what two folders have under one name; the zero entry is
// nothing.
func (d *difference) entry(at string, now, then entry) error {
	switch {
	case now == then:
		return nil
	case now.folder() && then.folder():
		return d.folders(at, now.hash, then.hash)
	case now.name != "" && then.name != "" && (now.folder() || then.folder()), now.mode == Submodule, then.mode == Submodule, hasControl(at):
		d.out.Left = append(d.out.Left, at)
		return nil
	case then.name == "":
		d.out.Edits = append(d.out.Edits, Edit{Path: at, Delete: true})
		return nil
	}
	data, err := d.then.store.read(plumbing.BlobObject, then.hash, d.then.maxFile)
	if err != nil {
		return gone(err)
	}
	if d.bytes += len(data); d.bytes > MaxEdits {
		return fmt.Errorf("%w: more than %d bytes to be brought back", sources.ErrTooLarge, MaxEdits)
	}
	d.out.Edits = append(d.out.Edits, Edit{Path: at, Data: data, Mode: then.mode})
	return nil
}

// Below is the folder that is followed, for people; "" is all of it.
func (s *Source) Below() string { return strings.Trim(s.cfg.Path, "/") }
