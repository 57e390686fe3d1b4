package detached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	maxTail    = 8 << 20 // bytes of a log that Tail goes back at most
	followTick = 200 * time.Millisecond
)

// Tail writes the last lines of a log to w, rotated files included, and then,
// if follow, what comes until ctx ends: that is no error. A log that does not
// exist yet is empty.
func Tail(ctx context.Context, file string, lines int, follow bool, w io.Writer) error {
	f, err := os.Open(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read log: %w", err)
	}
	t := &tail{path: file, f: f, w: w}
	defer func() { _ = t.f.Close() }() // of a nil file an error, and no more
	if err := t.last(lines); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if !follow {
		return nil
	}
	if err := t.follow(ctx); err != nil {
		return fmt.Errorf("follow log: %w", err)
	}
	return nil
}

// tail is a place in a log.
type tail struct {
	path string
	f    *os.File // nil until there is one
	at   int64
	w    io.Writer
}

// last writes the last lines and leaves the place behind them.
func (t *tail) last(lines int) error {
	var parts [][]byte
	room := int64(maxTail)
	if t.f != nil {
		text, end, err := ending(t.f, room)
		if err != nil {
			return err
		}
		t.at = end
		parts, room = append(parts, text), room-int64(len(text))
		lines -= bytes.Count(text, []byte{'\n'})
	}
	for _, old := range rotated(t.path) {
		if lines < 0 || room <= 0 {
			break
		}
		f, err := os.Open(old)
		if err != nil {
			continue // it was removed meanwhile
		}
		text, _, err := ending(f, room)
		_ = f.Close()
		if err != nil {
			return err
		}
		parts, room = append(parts, text), room-int64(len(text))
		lines -= bytes.Count(text, []byte{'\n'})
	}
	slices.Reverse(parts)
	text := bytes.Join(parts, nil)
	for ; lines < 0 && len(text) > 0; lines++ {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	_, err := t.w.Write(text)
	return err
}

// ending is the last bytes of a file, at most room, and where they end.
func ending(f *os.File, room int64) (text []byte, end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	from := max(0, info.Size()-room)
	text, err = io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	return text, from + int64(len(text)), err
}

// rotated lists the files that a log was rotated into, newest first: their
// names hold the time.
func rotated(file string) []string {
	ext := filepath.Ext(file)
	stem := strings.TrimSuffix(filepath.Base(file), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stem) && strings.HasSuffix(e.Name(), ext) {
			found = append(found, filepath.Join(filepath.Dir(file), e.Name()))
		}
	}
	slices.Reverse(found)
	return found
}

// follow copies what is added, over rotations.
func (t *tail) follow(ctx context.Context) error {
	tick := time.NewTicker(followTick)
	defer tick.Stop()
	for {
		if err := t.more(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// more copies what was added since, also to the file that took its place.
func (t *tail) more() error {
	next, err := os.Open(t.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if t.f != nil {
		n, err := io.Copy(t.w, io.NewSectionReader(t.f, t.at, 1<<62))
		t.at += n
		if err != nil {
			_ = next.Close()
			return err
		}
	}
	if next == nil || same(t.f, next) {
		_ = next.Close()
		return nil
	}
	_ = t.f.Close()
	t.f, t.at = next, 0
	return t.more()
}

func same(a, b *os.File) bool {
	ai, err := a.Stat()
	if err != nil {
		return false
	}
	bi, err := b.Stat()
	return err == nil && os.SameFile(ai, bi)
}
