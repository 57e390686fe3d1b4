package proposals

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
)

// Somebody's huge proposals push what is oldest out of the book, and make none
// that cannot be opened again.
func TestHugeBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proposals.json")
	b, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	huge := json.RawMessage(`"` + strings.Repeat("x", maxBook/3) + `"`)
	for i := range 4 {
		shown := []plan.Masked{{Diff: []drivers.Delta{{Path: "/x", After: huge}}}}
		if err := b.write(fmt.Sprint("head", i), page{Digest: fmt.Sprint(i), Shown: shown, At: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, old := again.pages["head0"]; old || again.pages["head3"] == nil {
		t.Errorf("%d heads, with the oldest: %t", len(again.pages), old)
	}
}

// What was counted once does not count again because much was counted since: what
// it approved may be used up.
func TestManyWords(t *testing.T) {
	b, err := OpenBook(filepath.Join(t.TempDir(), "proposals.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * mostPages {
		if _, err := b.count(fmt.Sprint("word ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if news, err := b.count("word 0"); news || err != nil {
		t.Errorf("it counts again: %v", err)
	}
}

// A review that came while a plan was being made is not of that plan.
func TestSeenOnceItIsThere(t *testing.T) {
	book, err := OpenBook(filepath.Join(t.TempDir(), "proposals.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(d *Desk) { d.Book = book })
	hold := make(chan struct{})
	s.mu.Lock()
	s.hold = hold
	s.mu.Unlock()
	head := s.propose("7", nil, "a.yaml", "2")
	<-s.began
	during := time.Now()
	for time.Now().Truncate(time.Second).Equal(during.Truncate(time.Second)) { // a forge's times are of whole seconds
		s.board.until(t.Context(), func() bool { return true })
	}
	close(hold)
	s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
	if _, ok := book.seen(head, during); ok {
		t.Error("it was seen before it was there")
	}
	if _, ok := book.seen(head, time.Now()); !ok {
		t.Error("it is not seen")
	}
}
