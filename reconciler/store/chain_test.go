package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// exported are n entries of an audit, as an export has them.
func exported(t *testing.T, s *store.Store) (lines [][]byte) {
	t.Helper()
	for after := uint64(0); ; after++ { // a page of one entry each
		page, err := s.AuditLog(t.Context(), after, 1)
		must(t, err)
		if len(page) == 0 {
			return lines
		}
		lines = append(lines, page[0])
	}
}

// verify follows a chain to its end.
func verify(lines [][]byte, known string) (store.Chain, error) {
	c := store.Chain{Known: known}
	for _, l := range lines {
		if err := c.Add(l); err != nil {
			return c, err
		}
	}
	return c, c.End()
}

// sealed is an entry with the hash that it should have.
func sealed(t *testing.T, e map[string]any) []byte {
	t.Helper()
	s := open(t, audited(t, 0))
	var v store.Entry
	raw, err := json.Marshal(e)
	must(t, err)
	must(t, json.Unmarshal(raw, &v))
	must(t, s.Pull(t.Context(), v, store.Result{}))
	return exported(t, s)[0]
}

// TestChain: who has nothing but an export finds what was done to it.
func TestChain(t *testing.T) {
	s := open(t, audited(t, 5))
	lines := exported(t, s)
	c, err := verify(lines, "")
	if err != nil || c.Entries != 5 || c.Last.Subject != "4" {
		t.Fatalf("%+v, %v", c, err)
	}
	head := c.Last.Hash
	must(t, s.Pull(t.Context(), store.Entry{At: epoch, By: "<ben&>", Via: "token", What: "suspend"}, store.Result{}))
	more := exported(t, s)
	if c, err := verify(more, head[:12]); err != nil || c.Last.Via != "token" {
		t.Errorf("one more: %+v, %v", c, err)
	}
	for name, alter := range map[string]func([][]byte) [][]byte{
		"a word": func(l [][]byte) [][]byte { l[2] = bytes.Replace(l[2], []byte("ana"), []byte("bob"), 1); return l },
		"a field more": func(l [][]byte) [][]byte {
			l[2] = bytes.Replace(l[2], []byte(`{`), []byte(`{"by":"bob",`), 1)
			return l
		},
		"a field after": func(l [][]byte) [][]byte {
			l[2] = append(bytes.TrimSuffix(l[2], []byte("}")), `,"by":"bob"}`...)
			return l
		},
		"the last":       func(l [][]byte) [][]byte { l[5] = bytes.Replace(l[5], []byte("ben"), []byte("bob"), 1); return l },
		"one in between": func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) },
		"the first":      func(l [][]byte) [][]byte { return l[1:] },
		"exchanged":      func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l },
		"twice":          func(l [][]byte) [][]byte { return slices.Insert(l, 2, l[1]) },
		"cut":            func(l [][]byte) [][]byte { return l[:3] },
		"all of it":      func(l [][]byte) [][]byte { return nil },
		"another log":    func([][]byte) [][]byte { return [][]byte{sealed(t, map[string]any{"by": "bob", "what": "approve"})} },
		"no hash":        func(l [][]byte) [][]byte { l[5] = []byte(`{"seq":6,"by":"bob","prev":"` + head + `"}`); return l },
		"no entry":       func(l [][]byte) [][]byte { l[1] = []byte("[]"); return l },
		"a hash of its own": func(l [][]byte) [][]byte {
			l[1] = bytes.Replace(l[1], []byte(`"hash":"`), []byte(`"hash":"0`), 1)
			return l
		},
		"resealed in middle": func(l [][]byte) [][]byte { l[0] = sealed(t, map[string]any{"by": "bob", "what": "approve"}); return l },
	} {
		all := make([][]byte, len(more))
		for i := range more {
			all[i] = bytes.Clone(more[i])
		}
		if _, err := verify(alter(all), head); !errors.Is(err, store.ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzChain: no line is taken for an entry that was altered from a good one,
// and none makes it fall.
func FuzzChain(f *testing.F) {
	f.Add([]byte(`{"seq":1,"at":"2026-01-01T00:00:00Z","by":"ana","what":"approve","hash":"x"}`))
	f.Add([]byte(`{"hash":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var c store.Chain
		if c.Add(line) == nil && (c.Entries != 1 || len(c.Last.Hash) != 64) {
			t.Errorf("%q is taken for an entry", line)
		}
	})
}
