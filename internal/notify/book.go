package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
)

const maxBook = 64 << 20

// Book remembers, over restarts, what each receiver was told, and what it is yet
// to be told. It holds no secret. Safe for concurrent use.
type Book struct {
	path string

	mu  sync.Mutex
	all map[string]record // by the receiver's name
}

// record is what is remembered of one receiver.
type record struct {
	Told    told     `json:"told"`
	Pending *Message `json:"pending,omitempty"` // Told holds it already
}

// OpenBook reads a book, or begins one, for these receivers; others are
// forgotten. One that is damaged is an error: it is for a person to put away.
func OpenBook(path string, receivers []string) (*Book, error) {
	b := &Book{path: path, all: map[string]record{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what was told: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxBook))
	if err == nil {
		err = json.Unmarshal(data, &b.all)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was told: %s: %w", path, err)
	}
	if b.all == nil {
		b.all = map[string]record{}
	}
	maps.DeleteFunc(b.all, func(name string, _ record) bool { return !slices.Contains(receivers, name) })
	return b, nil
}

func (b *Book) of(name string) record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[name]
}

func (b *Book) write(name string, r record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[name] = r
	data, err := json.Marshal(b.all)
	if err != nil {
		return err
	}
	return atomicfile.ReplaceAt(b.path, data, 0o600)
}
