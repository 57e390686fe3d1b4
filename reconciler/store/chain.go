package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
)

// ErrAltered is an audit whose entries are not what they were, or not all that
// there were, for errors.Is.
var ErrAltered = errors.New("the audit log is not whole")

// MaxEntry bounds an entry of the audit, in bytes.
const MaxEntry = 1 << 20

// AuditLog answers at most limit entries after one, the oldest first, as they
// are kept: to be verified, and exported, to the byte.
func (s *Store) AuditLog(_ context.Context, after uint64, limit int) (lines []json.RawMessage, err error) {
	defer guard(s.path, &err)()
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bAudit).Cursor()
		for k, raw := c.Seek(number(after + 1)); k != nil && len(lines) < limit; k, raw = c.Next() {
			lines = append(lines, bytes.Clone(raw))
		}
		return nil
	})
	return lines, err
}

// Chain verifies an audit, entry by entry from the first one on. Nothing else
// is needed for it: an export is enough. The zero value is ready.
type Chain struct {
	// Known is a hash, or the beginning of one, that an entry had when the
	// audit was looked at before; "": none is known. Without one, an audit that
	// was cut short, or made up as a whole, looks like one that is whole.
	Known string

	Entries uint64
	Last    Entry // zero: there was none yet

	found bool
}

// Add takes the next entry as it is kept: one line of JSON. ErrAltered.
func (c *Chain) Add(line []byte) error {
	var e Entry
	if len(line) > MaxEntry {
		return c.altered("it is larger than any")
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return c.altered("it is no entry")
	}
	switch {
	case len(e.Hash) != 2*sha256.Size || sumOf(line, e.Hash) != e.Hash:
		return c.altered("it is not what was written")
	case e.Seq != c.Last.Seq+1:
		return c.altered(fmt.Sprintf("it is missing: the next one is %d", e.Seq))
	case e.Prev != c.Last.Hash:
		return c.altered("it does not follow on the one before")
	}
	c.Entries, c.Last = c.Entries+1, e
	c.found = c.found || c.Known != "" && strings.HasPrefix(e.Hash, c.Known)
	return nil
}

// End says whether what was known before is among the entries.
func (c *Chain) End() error {
	if c.Known == "" || c.found {
		return nil
	}
	return fmt.Errorf("%w: no entry has the hash %s, and one had: the end was cut off, or another log was written", ErrAltered, c.Known)
}

func (c *Chain) altered(why string) error {
	return fmt.Errorf("%w: entry %d: %s", ErrAltered, c.Last.Seq+1, why)
}

// sumOf is the hash that an entry should have, from its text: fields that this
// program does not know are covered as well. "": it does not end in its hash.
func sumOf(line []byte, hash string) string {
	const end = `"hash":"`
	text, ok := bytes.CutSuffix(line, []byte(end+hash+`"}`))
	if !ok {
		return ""
	}
	h := sha256.New()
	_, _ = h.Write(text)
	_, _ = h.Write([]byte(end + `"}`))
	return hex.EncodeToString(h.Sum(nil))
}
