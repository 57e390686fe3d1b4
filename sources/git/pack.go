package git

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/aplomb-dev/aplomb/sources"
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
	if err := checkSizes(spool); err != nil {
		return fmt.Errorf("take in the pack: %w", err)
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

// maxObject bounds one object of a pack, in bytes: the library holds it in memory
// as a whole, and a small pack can say a lot.
const maxObject = 256 << 20

// checkSizes reads through a pack, holding nothing of it, and refuses one with an
// object that is too large: by what it says of itself, which the library takes
// it at, or by what a difference to another object would make of that.
func checkSizes(spool *os.File) error {
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sc := packfile.NewScanner(spool)
	_, count, err := sc.Header()
	for ; err == nil && count > 0; count-- {
		var h *packfile.ObjectHeader
		if h, err = sc.NextObjectHeader(); err != nil {
			break
		}
		head := &headOfDelta{}
		size := uint64(h.Length)
		if h.Length >= 0 && size <= maxObject {
			if _, _, err = sc.NextObject(head); err != nil {
				break
			}
			if h.Type == plumbing.OFSDeltaObject || h.Type == plumbing.REFDeltaObject {
				size = head.target()
			}
		}
		if size > maxObject {
			return fmt.Errorf("%w: an object of %d bytes, %d are allowed", sources.ErrTooLarge, size, maxObject)
		}
	}
	return err
}

// headOfDelta keeps the beginning of what is written to it: two numbers, of
// seven bits in a byte, which are the sizes of what the difference is to and of
// what it makes.
type headOfDelta struct{ start []byte }

func (h *headOfDelta) Write(p []byte) (int, error) {
	const both = 2 * binary.MaxVarintLen64
	h.start = append(h.start, p[:min(len(p), both-len(h.start))]...)
	return len(p), nil
}

// target is the size of what it makes; what is no number is too large.
func (h *headOfDelta) target() uint64 {
	_, n := binary.Uvarint(h.start)
	if n <= 0 {
		return math.MaxUint64
	}
	size, m := binary.Uvarint(h.start[n:])
	if m <= 0 {
		return math.MaxUint64
	}
	return size
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
