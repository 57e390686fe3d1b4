package forge

import (
	"errors"
	"sync"
	"time"
)

// memory is how long a Memo keeps what it was told.
const memory = 10 * time.Minute

// Memo keeps one answer that hardly ever changes, such as who we are, for ten
// minutes. Its zero value is empty. Errors are not kept.
type Memo[T any] struct {
	mu    sync.Mutex
	value T
	until time.Time
}

// Get gives what is kept, or asks.
func (m *Memo[T]) Get(ask func() (T, error)) (T, error) {
	m.mu.Lock()
	value, until := m.value, m.until
	m.mu.Unlock()
	if time.Now().Before(until) {
		return value, nil
	}
	value, err := ask() // not under the lock: a slow server must not hold up who has a shorter deadline
	if err != nil {
		return value, err
	}
	m.mu.Lock()
	m.value, m.until = value, time.Now().Add(memory)
	m.mu.Unlock()
	return value, nil
}

// Find is our first comment with a key, nil where there is none. read hands
// comments over, the oldest first, until it is told false.
func Find(key string, me Account, read func(take func(Comment) bool) error) (*Comment, error) {
	if me.ID == "" {
		return nil, &Error{Class: ErrDenied, Err: errors.New("the forge does not tell who we are")}
	}
	var found *Comment
	err := read(func(c Comment) bool {
		if c.Ours && Marked(c.Body, key) {
			found = &c
		}
		return found == nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// OpenOnce gives the proposal that there is, or makes one. Where somebody else
// makes the same one meanwhile, the forge refuses ours, and theirs is given.
func OpenOnce(d Draft, look func() ([]Proposal, error), open func() (Proposal, error)) (Proposal, error) {
	there := func() (Proposal, bool, error) {
		list, err := look()
		for _, p := range list {
			if !p.Fork && p.HeadBranch == d.Branch && p.Branch == d.Base && p.State == Open {
				return p, true, err
			}
		}
		return Proposal{}, false, err
	}
	p, ok, err := there()
	if ok || err != nil {
		return p, err
	}
	made, refused := open()
	if refused == nil || Class(refused) != ErrRefused {
		return made, refused
	}
	if p, ok, err = there(); ok || err != nil {
		return p, err
	}
	return Proposal{}, refused
}
