package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// MaxHistory is how many records the history keeps; the oldest go first.
const MaxHistory = 20_000

// Entry is one line of the audit: who pulled which lever, when and why. Hash
// is SHA-256 over the entry without it, which holds the Hash before.
type Entry struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Via     string    `json:"via,omitempty"` // by which means, such as "token"; "": it was not kept
	What    string    `json:"what"`
	Subject string    `json:"subject,omitempty"`
	Why     string    `json:"why,omitempty"`

	// Overrides are the policies that an approval overrides.
	Overrides []string `json:"overrides,omitempty"`
	// Outside says that an approval lets changes run outside the windows.
	Outside bool `json:"outside,omitempty"`
	// Let are the resources whose held changes an approval let through, the
	// first ones, and LetMore how many more.
	Let     []string `json:"let,omitempty"`
	LetMore int      `json:"letMore,omitempty"`

	Prev string `json:"prev,omitempty"`
	Hash string `json:"hash"`
}

// Does is what was done, in words.
func (e Entry) Does() string {
	words := e.What
	if e.Outside {
		words += " outside the windows"
	}
	if len(e.Overrides) > 0 {
		words += ", overriding " + strings.Join(e.Overrides, ", ")
	}
	return words
}

// Lets is what an approval let through, in words: the first few.
func (e Entry) Lets() string {
	const shown = 3
	words, more := strings.Join(e.Let[:min(len(e.Let), shown)], ", "), e.LetMore+max(len(e.Let)-shown, 0)
	if more > 0 {
		words += fmt.Sprintf(" and %d more", more)
	}
	return words
}

// sum is the hash that e should have.
func (e Entry) sum() string {
	e.Hash = ""
	raw, err := json.Marshal(e)
	if err != nil {
		panic("store: audit entry: " + err.Error()) // strings and times always marshal
	}
	h := sha256.Sum256(raw)
	return hex.EncodeToString(h[:])
}

// Pull records a lever and what it changed, in one durable write.
func (s *Store) Pull(ctx context.Context, e Entry, r Result) error {
	return s.update(ctx, "pull", func(tx *bbolt.Tx) error {
		b := tx.Bucket(bAudit)
		if _, raw := b.Cursor().Last(); raw != nil {
			var last Entry
			if err := json.Unmarshal(raw, &last); err != nil {
				return err
			}
			e.Prev = last.Hash
		}
		seq, err := b.NextSequence()
		if err != nil {
			return err
		}
		e.Seq = seq
		e.Hash = e.sum()
		if err := put(b, number(seq), e); err != nil {
			return err
		}
		return finishRest(tx, r)
	})
}

// Audit lists the newest entries first, and says whether the chain that ends
// in them is whole, from the last entry that was ever made back to the oldest
// one listed; where that is all of them, back to the first.
func (s *Store) Audit(_ context.Context, limit int) (entries []Entry, whole bool, err error) {
	made, err := s.audited()
	if err != nil {
		return nil, false, err
	}
	whole = true
	err = s.newest(bAudit, limit, func(raw []byte) error {
		var e Entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		if e.sum() != e.Hash || len(entries) > 0 && entries[len(entries)-1].Prev != e.Hash {
			whole = false
		}
		entries = append(entries, e)
		return nil
	})
	n := len(entries)
	if n == 0 {
		return nil, made == 0, err
	}
	all := limit <= 0 || n < limit
	return entries, whole && entries[0].Seq >= made && !(all && entries[n-1].Prev != ""), err
}

// audited is how many entries were ever made.
func (s *Store) audited() (n uint64, err error) {
	defer guard(s.path, &err)()
	err = s.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(bAudit).Sequence()
		return nil
	})
	return n, err
}

func appendHistory(tx *bbolt.Tx, records []any) error {
	if len(records) == 0 {
		return nil
	}
	b := tx.Bucket(bHistory)
	for _, r := range records {
		seq, err := b.NextSequence()
		if err != nil {
			return err
		}
		if err := put(b, number(seq), r); err != nil {
			return err
		}
		if seq > MaxHistory {
			if err := b.Delete(number(seq - MaxHistory)); err != nil {
				return err
			}
		}
	}
	return nil
}

// History calls fn with records as JSON, newest first, at most limit (0: all).
// An error of fn says that a record cannot be read: ErrCorrupt.
func (s *Store) History(_ context.Context, limit int, fn func(raw []byte) error) error {
	return s.newest(bHistory, limit, fn)
}

func (s *Store) newest(bucket []byte, limit int, fn func(raw []byte) error) (err error) {
	defer guard(s.path, &err)()
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		n := 0
		for k, raw := c.Last(); k != nil && (limit <= 0 || n < limit); k, raw = c.Prev() {
			if err := fn(raw); err != nil {
				return corrupt(s.path, err)
			}
			n++
		}
		return nil
	})
}
