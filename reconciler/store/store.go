// Package store keeps what an environment owns, what it was about to do, and
// what it did: inventory, journal, approvals, history and audit, in one bbolt
// file. It holds no secret. One process at a time may have it open. It must
// not know what a plan means or when to apply one.
package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// format is raised when what is stored changes its meaning.
const format = "1"

// openTimeout is how long Open waits for another process to let go.
const openTimeout = 500 * time.Millisecond

// What opening a store fails with, for errors.Is; Hint tells what to do.
var (
	ErrLocked  = errors.New("another process has it open")
	ErrForeign = errors.New("it belongs to another environment")
	ErrCorrupt = errors.New("it cannot be read")
)

// Error is a store's failure, with a hint.
type Error struct {
	Path string
	Err  error
	Hint string
}

func (e *Error) Error() string { return "store " + e.Path + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	bMeta      = []byte("meta")
	bOwned     = []byte("owned")
	bIntents   = []byte("intents")
	bApprovals = []byte("approvals")
	bHistory   = []byte("history")
	bAudit     = []byte("audit")
	buckets    = [][]byte{bMeta, bOwned, bIntents, bApprovals, bHistory, bAudit}

	keyFormat      = []byte("format")
	keyEnvironment = []byte("environment")
	keyState       = []byte("state")
)

// Store is an open store. Methods are safe for concurrent use; each write is
// one durable transaction.
type Store struct {
	db     *bbolt.DB
	path   string
	writes atomic.Int64
	// Hook, where set, is called before and after every durable write with its
	// name; an error before it stands for a crash: nothing is written. For
	// tests that kill at every journal step.
	Hook func(step string) error
}

// Open opens or makes the store of an environment. ErrLocked, ErrForeign,
// ErrCorrupt.
func Open(path, environment string) (*Store, error) {
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, path: path}
	if err := s.claim(environment); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func open(path string) (db *bbolt.DB, err error) {
	defer func() {
		if err != nil {
			db = nil
		}
	}()
	defer guard(path, &err)()
	if fi, statErr := os.Stat(path); statErr == nil && fi.Size() == 0 {
		return nil, corrupt(path, errors.New("the file is empty"))
	}
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case err == nil:
		if err = checkPages(path, db); err != nil {
			return nil, errors.Join(corrupt(path, err), db.Close())
		}
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, &Error{path, ErrLocked, "a daemon runs on this data folder; ask it instead, or stop it first"}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, &Error{path, err, ""}
	default:
		return nil, corrupt(path, err)
	}
}

func corrupt(path string, err error) error {
	return &Error{path, fmt.Errorf("%w: %w", ErrCorrupt, err), "restore the data folder from a backup; nothing was changed"}
}

// claim makes the buckets of a new store, or checks whose an old one is. An old
// one is not written to: it may prove to be broken, and what is missing from it
// is not made anew.
func (s *Store) claim(environment string) (err error) {
	defer guard(s.path, &err)()
	fresh := false
	if err := s.db.View(func(tx *bbolt.Tx) error {
		if first, _ := tx.Cursor().First(); first == nil {
			fresh = true
			return nil
		}
		return s.check(tx, environment)
	}); err != nil || !fresh {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bMeta)
		return errors.Join(meta.Put(keyFormat, []byte(format)), meta.Put(keyEnvironment, []byte(environment)))
	})
}

func (s *Store) check(tx *bbolt.Tx, environment string) error {
	for _, b := range buckets {
		if tx.Bucket(b) == nil {
			return corrupt(s.path, fmt.Errorf("%s is missing", b))
		}
	}
	meta := tx.Bucket(bMeta)
	if f := meta.Get(keyFormat); string(f) != format {
		return &Error{s.path, fmt.Errorf("%w: format %q", ErrCorrupt, f), "it was written by another version of aplomb"}
	}
	if e := meta.Get(keyEnvironment); string(e) != environment {
		return &Error{s.path, fmt.Errorf("%w: %s", ErrForeign, e), "use the data folder of this environment"}
	}
	return nil
}

// guard makes an error of a panic of bbolt's on a broken page, and of reading
// past the end of a file that was cut, which is mapped into memory. Use:
// defer guard(path, &err)()
func guard(path string, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = corrupt(path, fmt.Errorf("%v", p))
		}
	}
}

// Close lets go of the file.
func (s *Store) Close() error { return s.db.Close() }

// Writes is how many durable transactions were written since Open, for
// measuring. Each syncs the file twice: its pages, then its root.
func (s *Store) Writes() int64 { return s.writes.Load() }

// update is one durable transaction, with the hook around it.
func (s *Store) update(ctx context.Context, step string, fn func(*bbolt.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Hook != nil {
		if err := s.Hook(step + ":before"); err != nil {
			return err
		}
	}
	defer guard(s.path, &err)()
	if err := s.db.Update(fn); err != nil {
		var own *Error
		if errors.As(err, &own) {
			return err
		}
		return &Error{s.path, fmt.Errorf("%s: %w", step, err), "is the disk full?"}
	}
	s.writes.Add(1)
	if s.Hook != nil {
		return s.Hook(step + ":after")
	}
	return nil
}

func put(b *bbolt.Bucket, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, raw)
}

func number(n uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, n)
}
