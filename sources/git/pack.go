package git

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// unpackBelow is the size of a pack, in bytes, whose objects are kept one by
// one: a mirror that is fetched every minute must not gather a pack for each.
const unpackBelow = 256 << 10

// addPack takes in a pack, once all of it has arrived.
func (s *store) addPack(r io.Reader) error {
	if err := s.with(func() error { return nil }); err != nil {
		return err
	}
	spool, err := os.CreateTemp(s.lay.git, "incoming-*")
	if err != nil {
		return fmt.Errorf("keep the pack: %w", err)
	}
	defer os.Remove(spool.Name())
	defer spool.Close()
	n, err := io.Copy(spool, r)
	if err != nil {
		return fmt.Errorf("receive the pack: %w", err)
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("keep the pack: %w", err)
	}
	err = s.with(func() error {
		made, err := unpack(s.own, spool, n)
		if err != nil {
			return err
		}
		for _, name := range made {
			if err := syncPath(filepath.Join(s.lay.git, "objects", name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.sweep()
		return fmt.Errorf("take in the pack: %w", err)
	}
	return nil
}

// unpack gives the files that it made, below the folder of objects.
func unpack(st *filesystem.Storage, spool *os.File, size int64) ([]string, error) {
	if size >= unpackBelow {
		var sum plumbing.Hash // the end of a pack is its name
		if _, err := spool.ReadAt(sum[:], size-int64(len(sum))); err != nil {
			return nil, err
		}
		name := "pack/pack-" + sum.String()
		return []string{name + ".pack", name + ".idx", "pack"}, packfile.WritePackfileToObjectStorage(st, spool)
	}
	var made objectNames
	p, err := packfile.NewParserWithStorage(packfile.NewScanner(spool), st, &made)
	if err != nil {
		return nil, err
	}
	_, err = p.Parse()
	return made, err
}

// objectNames gathers the files of the objects of a pack, and their folders.
type objectNames []string

func (*objectNames) OnHeader(uint32) error                                          { return nil }
func (*objectNames) OnFooter(plumbing.Hash) error                                   { return nil }
func (*objectNames) OnInflatedObjectHeader(plumbing.ObjectType, int64, int64) error { return nil }

func (n *objectNames) OnInflatedObjectContent(h plumbing.Hash, _ int64, _ uint32, _ []byte) error {
	id := h.String()
	*n = append(*n, id[:2]+"/"+id[2:], id[:2])
	return nil
}

// sweep removes what an interrupted fetch left in the mirror.
func (s *store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pattern := range []string{"objects/pack/tmp_pack_*", "incoming-*"} {
		left, _ := filepath.Glob(filepath.Join(s.lay.git, pattern)) // the pattern is well-formed
		for _, name := range left {
			_ = os.Remove(name) // the next sweep tries again
		}
	}
}
