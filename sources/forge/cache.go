package forge

import (
	"bytes"
	"container/list"
	"io"
	"net/http"
	"sync"
)

// What answers are kept, for conditional requests: the least recently used go.
const (
	maxKept      = 2000
	maxKeptBytes = 16 << 20
)

// answer is a response that was read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// response is the answer to a request, as net/http would give it.
func (a answer) response(req *http.Request) *http.Response {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: req,
	}
}

// cache keeps answers that have an ETag. It never answers by itself: the server
// is asked each time, with the token of that time, and says that nothing
// changed. So nobody is shown what he may no longer see.
type cache struct {
	mu    sync.Mutex
	by    map[string]*list.Element
	order list.List // of *kept, the most recently used first
	bytes int
}

type kept struct {
	key string
	answer
}

// cacheKey is what an answer belongs to; empty: it is not kept.
func cacheKey(req *http.Request) string {
	if req.Method != http.MethodGet {
		return ""
	}
	return req.URL.String() + "\n" + req.Header.Get("Accept")
}

func (c *cache) get(key string) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.by[key]
	if !ok || key == "" {
		return answer{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*kept).answer, true
}

func (c *cache) put(key string, a answer) {
	if key == "" || a.status != http.StatusOK || a.header.Get("ETag") == "" || len(a.body) > maxKeptBytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]*list.Element{}
	}
	if e, ok := c.by[key]; ok {
		c.drop(e)
	}
	c.by[key] = c.order.PushFront(&kept{key, a})
	c.bytes += len(a.body)
	for c.bytes > maxKeptBytes || len(c.by) > maxKept {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	k := c.order.Remove(e).(*kept)
	delete(c.by, k.key)
	c.bytes -= len(k.body)
}
