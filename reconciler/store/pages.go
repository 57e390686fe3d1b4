package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// The layout of a page, as bbolt writes it: a header, then as many elements,
// each with the place of its key from its own beginning. Numbers are the
// machine's.
const (
	pageHead    = 16 // id, flags, count, overflow: 8, 2, 2 and 4 bytes
	elementSize = 16
	branchPage  = 0x01
	leafPage    = 0x02
	bucketLeaf  = 0x01 // of an element: its value is a bucket, whose root comes first
)

// checkPages follows every page that the database reaches, once. The library
// follows them without looking: in a damaged file a page that leads back to
// itself has it take all of the machine's memory.
func checkPages(path string, db *bbolt.DB) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		w := &pageWalk{file: f, size: uint64(db.Info().PageSize), file64: uint64(tx.Size()), seen: map[uint64]bool{}}
		w.next = append(w.next, uint64(tx.Cursor().Bucket().Root()))
		for len(w.next) > 0 {
			id := w.next[len(w.next)-1]
			w.next = w.next[:len(w.next)-1]
			if err := w.page(id); err != nil {
				return fmt.Errorf("page %d: %w", id, err)
			}
		}
		return nil
	})
}

// pageWalk is the pages that were seen, and those that are to be.
type pageWalk struct {
	file   io.ReaderAt
	size   uint64 // of a page, in bytes
	file64 uint64 // of the file
	seen   map[uint64]bool
	next   []uint64
}

var errPage = errors.New("it is no page of a tree")

// page checks one page and notes those below it.
func (w *pageWalk) page(id uint64) error {
	if w.seen[id] {
		return errors.New("it stands in two places")
	}
	w.seen[id] = true
	if id >= w.file64/w.size {
		return errors.New("it lies behind the end of the file")
	}
	at := id * w.size
	var head [pageHead]byte
	if _, err := w.file.ReadAt(head[:], int64(at)); err != nil {
		return err
	}
	flags, count := binary.NativeEndian.Uint16(head[8:]), uint64(binary.NativeEndian.Uint16(head[10:]))
	whole := (uint64(binary.NativeEndian.Uint32(head[12:])) + 1) * w.size
	if binary.NativeEndian.Uint64(head[:]) != id || flags != branchPage && flags != leafPage || whole > w.file64-at || pageHead+count*elementSize > whole {
		return errPage
	}
	data := make([]byte, whole)
	if _, err := w.file.ReadAt(data, int64(at)); err != nil {
		return err
	}
	for i := range count {
		if err := w.element(data, pageHead+i*elementSize, flags == branchPage); err != nil {
			return err
		}
	}
	return nil
}

// element checks one element of a page.
func (w *pageWalk) element(data []byte, at uint64, branch bool) error {
	number := func(from uint64) uint64 { return uint64(binary.NativeEndian.Uint32(data[at+from:])) }
	if branch { // pos, ksize, and the page
		if at+number(0)+number(4) > uint64(len(data)) {
			return errPage
		}
		w.next = append(w.next, binary.NativeEndian.Uint64(data[at+8:]))
		return nil
	}
	flags, value, length := number(0), at+number(4)+number(8), number(12)
	if value+length > uint64(len(data)) {
		return errPage
	}
	if flags&bucketLeaf == 0 {
		return nil
	}
	if length < 16 {
		return errPage
	}
	if root := binary.NativeEndian.Uint64(data[value:]); root != 0 { // else it lies within the value
		w.next = append(w.next, root)
	}
	return nil
}
