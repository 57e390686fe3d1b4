package proposals

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
)

// Bounds of a Book.
const (
	mostPages = 200 // heads
	mostShown = 20  // plans of one head
	maxBook   = 64 << 20
)

// Book remembers, over restarts, what was shown on proposals, which words on
// them were counted, and what was proposed. What it has forgotten nobody has approved: it asks again.
// It holds no secret: changes are masked. Safe for concurrent use.
type Book struct {
	path string

	mu      sync.Mutex
	pages   map[string][]page // by the head that was planned, the oldest first
	counted map[string]time.Time
}

// page is what was shown of one head from some time on.
type page struct {
	Proposal string        `json:"proposal"`
	Digest   string        `json:"digest"`
	Shown    []plan.Masked `json:"shown"`
	At       time.Time     `json:"at"`
}

type bookFile struct {
	Pages   map[string][]page    `json:"pages"`
	Counted map[string]time.Time `json:"counted"`
}

// OpenBook reads a book, or begins one. One that is damaged is an error: it is
// for a person to put away.
func OpenBook(path string) (*Book, error) {
	b := &Book{path: path, pages: map[string][]page{}, counted: map[string]time.Time{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was shown on proposals: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxBook))
	if err == nil {
		err = b.parse(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was shown on proposals: %s: %w", path, err)
	}
	return b, nil
}

func (b *Book) parse(data []byte) error {
	var file bookFile
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	for head, all := range file.Pages {
		if len(all) > 0 {
			b.pages[head] = all
		}
	}
	for key, at := range file.Counted {
		b.counted[key] = at
	}
	return nil
}

// write remembers what was shown of a head.
func (b *Book) write(head string, p page) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.pages[head]
	if n := len(all); n > 0 && all[n-1].Digest == p.Digest {
		return nil // it has been there to see since then
	}
	all = append(all, p)
	b.pages[head] = all[max(0, len(all)-mostShown):]
	return b.save()
}

// seen is what stood on a proposal at a time; false where nothing did yet.
func (b *Book) seen(head string, at time.Time) (page, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range slices.Backward(b.pages[head]) {
		if !p.At.Truncate(time.Second).After(at) { // a forge's times are of whole seconds
			return p, true
		}
	}
	return page{}, false
}

// first is since when something stands on a proposal; zero: it never did.
func (b *Book) first(head string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if all := b.pages[head]; len(all) > 0 {
		return all[0].At
	}
	return time.Time{}
}

// count says, once, that a word counts; false where it was counted before.
func (b *Book) count(key string) (news bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.counted[key]; known {
		return false, nil
	}
	b.counted[key] = time.Now()
	return true, b.save()
}

// knows says whether something was counted.
func (b *Book) knows(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.counted[key]
	return known
}

// uncount takes back that a word was counted.
func (b *Book) uncount(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.counted, key)
	return b.save()
}

// save writes the book without its oldest pages.
func (b *Book) save() error {
	oldest(b.pages, func(all []page) time.Time { return all[len(all)-1].At })
	oldest(b.counted, func(at time.Time) time.Time { return at })
	data, err := json.Marshal(bookFile{b.pages, b.counted})
	if err == nil {
		err = b.replace(data)
	}
	if err != nil {
		return fmt.Errorf("remember what was shown on proposals: %w", err)
	}
	return nil
}

func (b *Book) replace(data []byte) error {
	root, err := os.OpenRoot(filepath.Dir(b.path))
	if err != nil {
		return err
	}
	return errors.Join(atomicfile.Replace(root, filepath.Base(b.path), data, 0o600), root.Close())
}

// oldest drops what is oldest of too many.
func oldest[T any](all map[string]T, at func(T) time.Time) {
	if len(all) <= mostPages {
		return
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return at(all[a]).Compare(at(all[b])) })
	for _, k := range keys[:len(all)-mostPages] {
		delete(all, k)
	}
}
