package compile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// cacheVersion changes with what is stored.
const cacheVersion = "3"

// keepRounds is for how many compiles an entry that nobody asks for is kept:
// several environments may share a Compiler.
const keepRounds = 16

// cacheKey stands for a file's path, its content, and the schemas.
type cacheKey [sha256.Size]byte

func keyOf(how, name string, content []byte) cacheKey {
	h := sha256.New()
	sum := worker.Program()
	_, _ = h.Write(sum[:])
	_, _ = h.Write([]byte(cacheVersion))
	for _, part := range [][]byte{[]byte(how), []byte(name), content} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(n[:])
		_, _ = h.Write(part)
	}
	return cacheKey(h.Sum(nil))
}

// cacheEntry is what one file yielded. Read from the disk it is decoded when it
// is first asked for.
type cacheEntry struct {
	round int // that asked for it last; guarded by cache.mu

	decode sync.Once
	packed []byte
	result *fileResult // nil if packed was no good
}

func (e *cacheEntry) get() *fileResult {
	e.decode.Do(func() {
		var r fileResult
		if e.packed != nil && json.Unmarshal(e.packed, &r) == nil {
			e.result = &r
		}
		e.packed = nil
	})
	return e.result
}

// cache keeps what files yielded, in memory and in one packed file. Safe for
// concurrent use.
type cache struct {
	disk *disk // nil keeps it in memory only
	log  logrus.FieldLogger

	load sync.Once

	mu      sync.Mutex
	entries map[cacheKey]*cacheEntry
	added   []cacheKey // not yet on the disk
	rounds  int

	saving sync.Mutex
}

func newCache(dir string, log logrus.FieldLogger) *cache {
	c := &cache{log: log, entries: map[cacheKey]*cacheEntry{}}
	if dir != "" {
		c.disk = &disk{dir: dir}
	}
	return c
}

// begin starts a compile, the first with what the disk holds.
func (c *cache) begin() (round int) {
	c.load.Do(func() {
		if c.disk == nil {
			return
		}
		entries := c.disk.load()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.entries = entries
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	return c.rounds
}

// get answers nil for what is not known.
func (c *cache) get(k cacheKey, round int) *fileResult {
	c.mu.Lock()
	e := c.entries[k]
	if e != nil {
		e.round = max(e.round, round)
	}
	c.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.get()
}

func (c *cache) put(k cacheKey, round int, r fileResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[k] = &cacheEntry{result: &r, round: round}
	c.entries[k].decode.Do(func() {})
	c.added = append(c.added, k)
}

// save forgets what nobody has asked for in a while and writes what is new. A
// cache that cannot be written costs time, nothing else.
func (c *cache) save(round int) {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	stale := false
	for k, e := range c.entries {
		if e.round < round-keepRounds {
			delete(c.entries, k)
			stale = true
		}
	}
	if !stale && len(c.added) == 0 {
		c.mu.Unlock()
		return
	}
	added := make(map[cacheKey]*cacheEntry, len(c.added))
	for _, k := range c.added {
		if e := c.entries[k]; e != nil {
			added[k] = e
		}
	}
	c.added = nil
	all := maps.Clone(c.entries)
	c.mu.Unlock()
	if c.disk == nil {
		return
	}
	if err := c.disk.save(added, all); err != nil {
		c.log.WithError(err).Warn("the compile cache cannot be written")
	}
}
