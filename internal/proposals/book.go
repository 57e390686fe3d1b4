package proposals

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Bounds of a Book. What was counted is kept for long: a word that is forgotten
// would count again, after what it approved was used up.
const (
	mostPages   = 200    // heads
	mostShown   = 20     // plans of one head
	mostCounted = 20_000 // words
	maxBook     = 64 << 20
)

// Book remembers, over restarts, what was shown on proposals, which words on
// them were counted and up to which revision, what was said on commits, and what
// was proposed. What it has forgotten nobody has approved: it asks again.
// It holds no secret: changes are masked. Safe for concurrent use.
type Book struct {
	path string
	most int // bytes; a plan is as large as what it changes

	mu      sync.Mutex
	pages   map[string][]page // by the head that was planned, the oldest first
	counted map[string]time.Time
	settled sources.Revision
	said    map[string]forge.Status
}

// page is what was shown of one head from some time on.
type page struct {
	Proposal string        `json:"proposal"`
	Branch   string        `json:"branch,omitempty"` // that was proposed; not every forge tells it once it is merged
	Digest   string        `json:"digest"`
	Shown    []plan.Masked `json:"shown"`
	At       time.Time     `json:"at"`
}

type bookFile struct {
	Pages   map[string][]page    `json:"pages"`
	Counted map[string]time.Time `json:"counted"`

	Settled sources.Revision        `json:"settled,omitzero"`
	Said    map[string]forge.Status `json:"said,omitempty"`
}

// OpenBook reads a book, or begins one. One that is damaged is an error: it is
// for a person to put away.
func OpenBook(path string) (*Book, error) {
	b := &Book{path: path, most: maxBook, pages: map[string][]page{}, counted: map[string]time.Time{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was shown on proposals: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxBook+1))
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
	b.settled, b.said = file.Settled, file.Said
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

// named is what stood on a proposal with a digest that begins so; false where
// nothing did, or several things.
func (b *Book) named(head, digest string) (page, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []page
	for _, p := range b.pages[head] {
		if digest == "" || !strings.HasPrefix(p.Digest, digest) {
			continue
		}
		if len(found) == 0 || found[0].Digest != p.Digest {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return page{}, false
	}
	return found[0], true
}

// Asked says whether somebody asked for a proposal of this head, by the branch
// that it has now or had when it was shown.
func (b *Book) Asked(head, branch, by string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.counted[asked(branch, by)]
	for _, p := range b.pages[head] {
		_, is := b.counted[asked(p.Branch, by)]
		known = known || is
	}
	return known
}

// ambiguous says whether a digest that begins so was shown that is another one
// than digest: few digits are found twice by who tries for long enough.
func (b *Book) ambiguous(begin, digest string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, all := range b.pages {
		if slices.ContainsFunc(all, func(p page) bool { return strings.HasPrefix(p.Digest, begin) && p.Digest != digest }) {
			return true
		}
	}
	return false
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

// note remembers something as counted now, also where it was before.
func (b *Book) note(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counted[key] = time.Now()
	return b.save()
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

// lastSettled is the newest revision with which everything was settled and
// nothing held: the words on what came up to it have done what they could.
func (b *Book) lastSettled() sources.Revision {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settled
}

// settle remembers such a revision.
func (b *Book) settle(r sources.Revision) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled.ID == r.ID {
		return nil
	}
	b.settled = r
	return b.save()
}

// lastSaid is what was said last on the commits of then; the caller may alter it.
func (b *Book) lastSaid() map[string]forge.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := map[string]forge.Status{}
	maps.Copy(said, b.said)
	return said
}

// say remembers what was said.
func (b *Book) say(said map[string]forge.Status) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if maps.Equal(b.said, said) {
		return nil
	}
	b.said = maps.Clone(said)
	return b.save()
}

// save writes the book without its oldest pages: never one that is too large to
// be read again.
func (b *Book) save() error {
	oldest(b.pages, mostPages, func(all []page) time.Time { return all[len(all)-1].At })
	oldest(b.counted, mostCounted, func(at time.Time) time.Time { return at })
	data, err := json.Marshal(b.file())
	if err == nil && len(data) > b.most { // it could not be read again
		if err = b.thin(len(data) - b.most/4*3); err == nil {
			data, err = json.Marshal(b.file())
		}
	}
	if err == nil {
		err = atomicfile.ReplaceAt(b.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember what was shown on proposals: %w", err)
	}
	return nil
}

// file is the book as it is kept.
func (b *Book) file() bookFile { return bookFile{b.pages, b.counted, b.settled, b.said} }

// thin drops the oldest pages, of so many bytes or more.
func (b *Book) thin(bytes int) error {
	type leaf struct {
		head string
		at   time.Time
	}
	var all []leaf
	for head, pages := range b.pages {
		for _, p := range pages {
			all = append(all, leaf{head, p.At})
		}
	}
	slices.SortFunc(all, func(x, y leaf) int { return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.head, y.head)) })
	for _, l := range all {
		if bytes <= 0 {
			break
		}
		data, err := json.Marshal(b.pages[l.head][0]) // of one head they are in order
		if err != nil {
			return err
		}
		bytes -= len(data)
		if b.pages[l.head] = b.pages[l.head][1:]; len(b.pages[l.head]) == 0 {
			delete(b.pages, l.head)
		}
	}
	return nil
}

// oldest drops what is oldest of more than most.
func oldest[T any](all map[string]T, most int, at func(T) time.Time) {
	if len(all) <= most {
		return
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return at(all[a]).Compare(at(all[b])) })
	for _, k := range keys[:len(all)-most] {
		delete(all, k)
	}
}
