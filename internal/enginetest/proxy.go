package enginetest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Fault is what a Proxy does to one request.
type Fault uint8

// The faults. The zero Fault passes a request on and its answer back.
const (
	Pass   Fault = iota
	Refuse       // the connection is closed before the engine hears of it
	Slow         // passed on after Proxy.Delay
	Busy         // 429, and the engine hears nothing
	Broken       // 500, and the engine hears nothing
	Cut          // the engine answers, and the answer ends in its middle
	Lost         // the engine answers, and nobody hears it
)

// Proxy stands between a driver and its engine, and meddles.
type Proxy struct {
	Address string // http://127.0.0.1:PORT
	Delay   time.Duration

	engine string
	mu     sync.Mutex
	choose func(*http.Request) Fault
	seen   map[string]int
}

// NewProxy starts a proxy in front of an engine's address; it ends with the
// test.
func NewProxy(t testing.TB, engine string) *Proxy {
	t.Helper()
	p := &Proxy{engine: engine, Delay: time.Second, seen: map[string]int{}}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.Address = s.URL
	return p
}

// Meddle sets what becomes of requests from now on; nil passes all.
func (p *Proxy) Meddle(choose func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = choose
}

// Requests is how many requests came since the last call, by method and path;
// it begins to count anew.
func (p *Proxy) Requests() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = map[string]int{}
	return seen
}

func (p *Proxy) fault(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[r.Method+" "+r.URL.Path]++
	if p.choose == nil {
		return Pass
	}
	return p.choose(r)
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.fault(r)
	switch f {
	case Refuse:
		hangUp(w)
		return
	case Busy:
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	case Broken:
		http.Error(w, "rpc error: broken", http.StatusInternalServerError)
		return
	case Slow:
		timer := time.NewTimer(p.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	p.forward(w, r, f)
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, f Fault) {
	out := r.Clone(r.Context())
	if f == Lost || f == Cut {
		out = r.Clone(context.WithoutCancel(r.Context())) // it lands, whatever the client does
	}
	out.RequestURI = ""
	u, err := r.URL.Parse(p.engine + r.URL.RequestURI())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	out.URL, out.Host = u, u.Host
	res, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		hangUp(w)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if f == Lost {
		_, _ = io.Copy(io.Discard, res.Body)
		hangUp(w)
		return
	}
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	if f == Cut {
		_, _ = io.CopyN(w, res.Body, max(res.ContentLength/2, 1))
		_ = http.NewResponseController(w).Flush()
		hangUp(w)
		return
	}
	_, _ = io.Copy(flushing{w}, res.Body)
}

// flushing hands on at once what a stream says, such as Nomad's events.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}

// hangUp closes the connection of a request.
func hangUp(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
