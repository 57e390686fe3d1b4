package compile

import (
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
)

// cacheVersion changes whenever a checker of this code could answer otherwise
// than the last one.
const cacheVersion = "1"

// keepRounds is for how many compiles an entry that nobody asks for is kept:
// several environments may share a Compiler.
const keepRounds = 16

// cacheKey stands for a file's path, its content, and the schemas.
type cacheKey [sha256.Size]byte

func keyOf(how, name string, content []byte) cacheKey {
	h := sha256.New()
	sum := schemaHash()
	_, _ = h.Write(sum[:])
	for _, part := range [][]byte{[]byte(how), []byte(name), content} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(n[:])
		_, _ = h.Write(part)
	}
	return cacheKey(h.Sum(nil))
}

// schemaHash stands for the embedded schemas and the code that applies them.
var schemaHash = sync.OnceValue(func() cacheKey {
	h := sha256.New()
	_, _ = h.Write([]byte(cacheVersion))
	_ = fs.WalkDir(schema.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(schema.FS(), name)
		_, _ = h.Write([]byte(name))
		_, _ = h.Write(data)
		return err
	})
	return cacheKey(h.Sum(nil))
})

type cacheEntry struct {
	result fileResult
	round  int // that asked for it last
}

// cache keeps what files yielded. Safe for concurrent use.
type cache struct {
	dir string
	log logrus.FieldLogger

	mu      sync.Mutex
	entries map[cacheKey]*cacheEntry
	rounds  int
}

func newCache(dir string, log logrus.FieldLogger) *cache {
	return &cache{dir: dir, log: log, entries: map[cacheKey]*cacheEntry{}}
}

// begin starts a compile.
func (c *cache) begin() (round int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	return c.rounds
}

// get answers nil for what is not known.
func (c *cache) get(k cacheKey, round int) *fileResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		return nil
	}
	e.round = max(e.round, round)
	return &e.result
}

func (c *cache) put(k cacheKey, round int, r fileResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[k] = &cacheEntry{result: r, round: round}
}

// save forgets what nobody has asked for in a while.
func (c *cache) save(round int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if e.round < round-keepRounds {
			delete(c.entries, k)
		}
	}
}
