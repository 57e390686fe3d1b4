package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// keepRounds is for how many rounds of judging an answer that nobody asks for
// is kept: several environments may share a Judge, and changes are judged in
// rounds of their own.
const keepRounds = 64

// key stands for all that an answer depends on.
type key [sha256.Size]byte

func keyOf(parts ...[]byte) key {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		_, _ = h.Write(p)
	}
	return key(h.Sum(nil))
}

// cache keeps what was said, in memory. Safe for concurrent use.
type cache struct {
	mu      sync.Mutex
	entries map[key]*entry
	rounds  int
}

type entry struct {
	round  int // that asked for it last
	answer answer
}

func newCache() *cache { return &cache{entries: map[key]*entry{}} }

// begin starts a round, and forgets what nobody has asked for in a while.
func (c *cache) begin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	if c.rounds%keepRounds == 0 {
		for k, e := range c.entries {
			if e.round < c.rounds-keepRounds {
				delete(c.entries, k)
			}
		}
	}
	return c.rounds
}

// get answers nil for what is not known.
func (c *cache) get(k key, round int) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		return nil
	}
	e.round = round
	return &e.answer
}

func (c *cache) put(k key, round int, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[k] = &entry{round: round, answer: a}
}
