package proposals

import (
	"encoding/json"
	"fmt"
	"os"
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

// A book that would be too large to be read again goes without its oldest plans,
// and who asked for something stays known however many words are counted.
func TestBookIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proposals.json")
	b := opened(t, path)
	b.most = 100_000
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	live, err := json.Marshal(strings.Repeat("x", 10_000))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		p := page{Digest: fmt.Sprintf("%064d", i), Shown: []plan.Masked{{Before: live}}, At: at.Add(time.Duration(i) * time.Minute)}
		if err := b.write([]string{"old", "head"}[min(i/5, 1)], p); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > int64(b.most) {
		t.Errorf("%v, %v", info.Size(), err)
	}
	again := opened(t, path)
	if _, ok := again.named("head", fmt.Sprintf("%064d", 29)); !ok || !again.first("old").IsZero() || !again.first("head").After(at.Add(15*time.Minute)) {
		t.Errorf("what is left is of %s, and the newest is there: %t", again.first("head"), ok)
	}
	if err := b.note("asked"); err != nil {
		t.Fatal(err)
	}
	for i := range mostCounted {
		b.counted[fmt.Sprint(i)] = time.Now()
	}
	if err := b.note("asked"); err != nil || !b.knows("asked") || len(b.counted) != mostCounted {
		t.Errorf("%v, %d", err, len(b.counted))
	}
}

func TestDamagedBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "proposals.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBook(path); err == nil {
		t.Error("a damaged book is read")
	}
}

func FuzzBook(f *testing.F) {
	f.Add([]byte(`{"pages":{"h":[{"digest":"00"}]},"counted":{"a":"2026-11-28T12:00:00Z"}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		b := &Book{pages: map[string][]page{}, counted: map[string]time.Time{}}
		if b.parse(data) == nil {
			b.seen("h", time.Now())
			b.first("h")
			oldest(b.pages, mostPages, func(all []page) time.Time { return all[len(all)-1].At })
		}
	})
}
