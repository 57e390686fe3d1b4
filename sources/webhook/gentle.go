package webhook

import (
	"sync"
	"time"
)

// gentle kicks a repository at once, and then at most once every while: what
// comes meanwhile is made good by one kick at its end, so none is lost.
type gentle struct {
	every time.Duration
	kick  func(string)

	mu   sync.Mutex
	last map[string]time.Time
	due  map[string]bool // a kick is on its way
}

func (g *gentle) kicked(name string) {
	g.mu.Lock()
	if g.last == nil {
		g.last, g.due = map[string]time.Time{}, map[string]bool{}
	}
	if g.due[name] {
		g.mu.Unlock()
		return
	}
	now := time.Now()
	if wait := g.every - now.Sub(g.last[name]); !g.last[name].IsZero() && wait > 0 {
		g.due[name] = true
		time.AfterFunc(wait, func() { g.later(name) })
		g.mu.Unlock()
		return
	}
	g.last[name] = now
	g.mu.Unlock()
	g.kick(name)
}

func (g *gentle) later(name string) {
	g.mu.Lock()
	g.last[name] = time.Now()
	delete(g.due, name)
	g.mu.Unlock()
	g.kick(name)
}
