package store_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// audited is a closed store with n entries.
func audited(t *testing.T, n int) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	for i := range n {
		must(t, s.Pull(t.Context(), store.Entry{At: epoch, By: "ana", What: "approve", Subject: fmt.Sprint(i), Why: "because"}, store.Result{State: &store.State{Down: i%2 == 0}}))
	}
	must(t, s.Close())
	return path
}

// tamper alters a closed store's audit behind its back.
func tamper(t *testing.T, path string, alter func(b *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return alter(tx.Bucket([]byte("audit"))) }))
	must(t, db.Close())
}

func TestAudit(t *testing.T) {
	s := open(t, audited(t, 3))
	entries, whole, err := s.Audit(t.Context(), 0)
	if err != nil || !whole || len(entries) != 3 {
		t.Fatalf("%v, whole %t, %v", entries, whole, err)
	}
	if e := entries[0]; e.Subject != "2" || e.Seq != 3 || e.By != "ana" || e.Why != "because" || !e.At.Equal(epoch) || e.Prev != entries[1].Hash || entries[2].Prev != "" {
		t.Errorf("the newest is %+v", e)
	}
	if !load(t, s).State.Down {
		t.Error("what the lever changed was not written with it")
	}
	if entries, whole, err = s.Audit(t.Context(), 2); err != nil || !whole || len(entries) != 2 || entries[1].Subject != "1" {
		t.Errorf("the newest two: %v, whole %t, %v", entries, whole, err)
	}
}

func TestAuditTampered(t *testing.T) {
	edit := func(seq byte, alter func(*store.Entry)) func(*bbolt.Bucket) error {
		return func(b *bbolt.Bucket) error {
			k := []byte{0, 0, 0, 0, 0, 0, 0, seq}
			var e store.Entry
			if err := json.Unmarshal(b.Get(k), &e); err != nil {
				return err
			}
			alter(&e)
			raw, err := json.Marshal(e)
			if err != nil {
				return err
			}
			return b.Put(k, raw)
		}
	}
	remove := func(seq byte) func(*bbolt.Bucket) error {
		return func(b *bbolt.Bucket) error { return b.Delete([]byte{0, 0, 0, 0, 0, 0, 0, seq}) }
	}
	for name, alter := range map[string]func(*bbolt.Bucket) error{
		"who":                   edit(2, func(e *store.Entry) { e.By = "ben" }),
		"what":                  edit(2, func(e *store.Entry) { e.What = "kick" }),
		"on what":               edit(2, func(e *store.Entry) { e.Subject = "9" }),
		"when":                  edit(2, func(e *store.Entry) { e.At = e.At.Add(1) }),
		"why":                   edit(4, func(e *store.Entry) { e.Why = "" }),
		"the hash":              edit(1, func(e *store.Entry) { e.Hash = e.Prev }),
		"the first is gone":     remove(1),
		"one in between":        remove(3),
		"the last is gone":      remove(4),
		"two entries exchanged": func(b *bbolt.Bucket) error { return exchange(b, 2, 3) },
	} {
		path := audited(t, 4)
		tamper(t, path, alter)
		s := open(t, path)
		if entries, whole, err := s.Audit(t.Context(), 0); err != nil || whole {
			t.Errorf("%s: whole %t, %v: %v", name, whole, err, entries)
		}
		must(t, s.Close())
	}
}

func exchange(b *bbolt.Bucket, i, j byte) error {
	ki, kj := []byte{0, 0, 0, 0, 0, 0, 0, i}, []byte{0, 0, 0, 0, 0, 0, 0, j}
	vi, vj := append([]byte(nil), b.Get(ki)...), append([]byte(nil), b.Get(kj)...)
	if err := b.Put(ki, vj); err != nil {
		return err
	}
	return b.Put(kj, vi)
}

func history(t *testing.T, s *store.Store, limit int) (lines []string) {
	t.Helper()
	must(t, s.History(t.Context(), limit, func(raw []byte) error {
		lines = append(lines, string(raw))
		return nil
	}))
	return lines
}

func TestHistory(t *testing.T) {
	s := fresh(t)
	must(t, s.Finish(t.Context(), store.Result{History: []any{1, "two"}}))
	must(t, s.Finish(t.Context(), store.Result{History: []any{3}}))
	if got := history(t, s, 0); !reflect.DeepEqual(got, []string{"3", `"two"`, "1"}) {
		t.Errorf("%v", got)
	}
	if got := history(t, s, 2); !reflect.DeepEqual(got, []string{"3", `"two"`}) {
		t.Errorf("the newest two: %v", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := fresh(t)
	records := make([]any, store.MaxHistory+2)
	for i := range records {
		records[i] = i
	}
	must(t, s.Finish(t.Context(), store.Result{History: records}))
	must(t, s.Finish(t.Context(), store.Result{History: []any{"last"}}))
	got := history(t, s, 0)
	if len(got) != store.MaxHistory || got[0] != `"last"` || got[len(got)-1] != "3" {
		t.Errorf("%d records, from %s to %s", len(got), got[0], got[len(got)-1])
	}
}

// What an approval let through is told in a few words.
func TestLets(t *testing.T) {
	for want, e := range map[string]store.Entry{
		"": {}, "a/b": {Let: []string{"a/b"}}, "a, b, c": {Let: []string{"a", "b", "c"}}, "a, b, c and 3 more": {Let: []string{"a", "b", "c", "d"}, LetMore: 2},
	} {
		if got := e.Lets(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
