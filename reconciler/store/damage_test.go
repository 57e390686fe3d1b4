package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// use opens a store and does everything with it, and answers the first error.
func use(t *testing.T, path string) error {
	t.Helper()
	s, err := store.Open(path, "env-1")
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if _, err := s.Load(t.Context()); err != nil {
		return err
	}
	if _, _, err := s.Audit(t.Context(), 0); err != nil {
		return err
	}
	if err := s.History(t.Context(), 0, func([]byte) error { return nil }); err != nil {
		return err
	}
	return s.Finish(t.Context(), store.Result{Done: map[store.Key]store.Owned{key("new"): owned("new")}, History: []any{"x"}})
}

// full is a store with a few pages in every bucket, closed.
func full(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	for i := range 4 {
		begun, done := map[store.Key]store.Intent{}, map[store.Key]store.Owned{}
		var history []any
		for j := range 60 {
			name := fmt.Sprintf("r%d-%d", i, j)
			begun[key("i"+name)], done[key(name)] = intent("i"+name), owned(name)
			history = append(history, map[string]string{"what": name})
		}
		must(t, s.Begin(t.Context(), begun, nil))
		must(t, s.Finish(t.Context(), store.Result{Done: done, History: history}))
		must(t, s.Pull(t.Context(), store.Entry{By: "ana", What: "suspend"}, store.Result{}))
	}
	must(t, s.Close())
	raw, err := os.ReadFile(path)
	must(t, err)
	return raw
}

// TestDamaged: whatever became of the file, the answer is an error that can be
// told, and never a panic; and a file that cannot be read is not altered.
func TestDamaged(t *testing.T) {
	whole := full(t)
	cases := map[string][]byte{
		"empty": {}, "one byte": {0}, "text": []byte("this is no database\n"),
		"zeros": make([]byte, len(whole)), "zeros, not of a whole page": make([]byte, 5000),
	}
	for _, n := range []int{100, 4096, 8192, 5 * 4096, 20 * 4096} {
		cases[fmt.Sprintf("cut to %d", n)] = whole[:n]
	}
	for name, raw := range cases {
		path := filepath.Join(t.TempDir(), "store.db")
		must(t, os.WriteFile(path, raw, 0o600))
		err := use(t, path)
		var own *store.Error
		if !errors.Is(err, store.ErrCorrupt) || !errors.As(err, &own) || own.Hint == "" || own.Path != path {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(raw) {
			t.Errorf("%s: the file was altered: %d bytes, %v", name, len(after), err)
		}
	}
}

// TestFlipped damages a good file in many places, one at a time.
func TestFlipped(t *testing.T) {
	whole := full(t)
	rng := rand.New(rand.NewPCG(5, 6))
	path := filepath.Join(t.TempDir(), "store.db")
	told := 0
	for i := range 100 {
		raw := append([]byte(nil), whole...)
		at := rng.IntN(len(raw))
		if i%2 == 0 { // the headers of pages are where it hurts
			at = rng.IntN(len(raw)/4096)*4096 + rng.IntN(64)
		}
		n := 1 + rng.IntN(8)
		for j := at; j < min(at+n, len(raw)); j++ {
			raw[j] = byte(rng.Uint32())
		}
		must(t, os.WriteFile(path, raw, 0o600))
		var own *store.Error
		switch err := use(t, path); {
		case err == nil:
		case errors.As(err, &own):
			told++
		default:
			t.Fatalf("%d: %d bytes at %d of page %d: %v", i, n, at%4096, at/4096, err)
		}
	}
	if told == 0 {
		t.Error("no damage was noticed at all")
	}
}

// TestLoops: a page that leads back to itself, or to one above it, is damage
// like any other, and takes neither time nor memory.
func TestLoops(t *testing.T) {
	whole := full(t)
	path := filepath.Join(t.TempDir(), "store.db")
	branches := 0
	for at := 0; at+4096 <= len(whole); at += 4096 {
		if binary.NativeEndian.Uint16(whole[at+8:]) != 1 || binary.NativeEndian.Uint16(whole[at+10:]) == 0 {
			continue // no branch
		}
		for _, to := range []uint64{uint64(at / 4096), 1 << 40} {
			raw := append([]byte(nil), whole...)
			binary.NativeEndian.PutUint64(raw[at+16+8:], to)
			must(t, os.WriteFile(path, raw, 0o600))
			if err := use(t, path); err == nil {
				branches-- // a page that is free by now
			} else if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("page %d leads to %d: %v", at/4096, to, err)
			}
			branches++
		}
	}
	if branches == 0 {
		t.Error("there is no branch to be damaged")
	}
}
