package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
)

// maxBody is how much of an answer to a check is read.
const maxBody = 64 << 10

// probe is the last answer to the check of a group.
type probe struct {
	asking sync.Mutex // held while it is asked: one at a time

	mu     sync.Mutex // guards what follows
	key    string     // what was asked, and of which runs
	at     time.Time
	err    error
	passed bool // at least once, with this key
}

// get is the last answer for a key: the zero time where there is none.
func (p *probe) get(key string) (at time.Time, passed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key != key {
		return time.Time{}, false, nil
	}
	return p.at, p.passed, p.err
}

func (p *probe) set(key string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed = err == nil || p.key == key && p.passed
	p.key, p.at, p.err = key, time.Now(), err
}

// health of a group as it was seen.
func (d *Driver) health(name string, o *observed) drivers.Health {
	if o.spec.Type == batch {
		return batchHealth(o)
	}
	n := tally{count: o.spec.Count}
	for i := range o.insts {
		n.add(d, o, &o.insts[i])
	}
	if n.count == 0 {
		return drivers.Health{Status: drivers.Healthy, Reason: "none wanted"}
	}
	if len(n.bad) > 0 {
		return drivers.Health{Status: drivers.Unhealthy, Reason: join(n.bad)}
	}
	if len(n.soon) > 0 {
		return drivers.Health{Status: drivers.Progressing, Reason: join(n.soon)}
	}
	if o.spec.Check != nil {
		switch at, before, err := d.entry(name).probe.get(o.probeKey()); {
		case at.IsZero():
			return drivers.Health{Status: drivers.Progressing, Reason: "check: not asked yet"}
		case err != nil && before:
			return drivers.Health{Status: drivers.Unhealthy, Reason: "check: " + err.Error()}
		case err != nil:
			return drivers.Health{Status: drivers.Progressing, Reason: "check: " + err.Error()}
		}
	}
	return drivers.Health{Status: drivers.Healthy, Reason: fmt.Sprintf("%d of %d", n.up, n.count)}
}

// tally counts instances by how they do.
type tally struct {
	count, up int
	bad, soon []string
}

func (n *tally) add(d *Driver, o *observed, i *instance) {
	switch {
	case i.index >= n.count:
	case i.ended() && i.over:
		n.bad = append(n.bad, fmt.Sprintf("instance %d %s", i.index, i))
	case i.ended():
		wait := i.due.Sub(o.at).Round(100 * time.Millisecond)
		n.bad = append(n.bad, fmt.Sprintf("instance %d %s, restart in %v", i.index, i, wait))
	case i.none():
		n.bad = append(n.bad, fmt.Sprintf("instance %d is absent", i.index))
	case i.running() && i.status.Child.PID == 0:
		n.soon = append(n.soon, fmt.Sprintf("instance %d is starting", i.index))
	case o.spec.Check == nil && o.at.Sub(i.status.Begun) < d.settle():
		n.soon = append(n.soon, fmt.Sprintf("instance %d has just started", i.index))
	default:
		n.up++
	}
}

// join is a list for people, shortened.
func join(list []string) string {
	const shown = 3
	if more := len(list) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), more)
	}
	return strings.Join(list, ", ")
}

func batchHealth(o *observed) drivers.Health {
	done := 0
	var bad []string
	for i := range o.insts {
		it := &o.insts[i]
		switch {
		case it.index >= o.spec.Count || it.none() || it.running():
		case it.status.Exit.Code == 0 && it.String() == "exited (status 0)":
			done++
		default:
			bad = append(bad, fmt.Sprintf("instance %d %s", it.index, it))
		}
	}
	switch {
	case len(bad) > 0:
		return drivers.Health{Status: drivers.Failed, Reason: join(bad) + "; it runs again when its spec changes"}
	case done < o.spec.Count:
		return drivers.Health{Status: drivers.Progressing, Reason: fmt.Sprintf("%d of %d completed", done, o.spec.Count)}
	default:
		return drivers.Health{Status: drivers.Healthy, Reason: "completed"}
	}
}

// checked: there is a check, and something that it is about.
func (o *observed) checked() bool {
	return o.spec.Check != nil && o.spec.Type == service && o.spec.Count > 0
}

// probe asks, where the last answer is older than an interval and no Watch
// takes care of that.
func (d *Driver) probe(ctx context.Context, name string, o *observed) {
	e := d.entry(name)
	if at, _, _ := e.probe.get(o.probeKey()); at.IsZero() || e.watched.Load() == 0 {
		d.refresh(ctx, name, o)
	}
}

// refresh asks where the last answer is older than an interval.
func (d *Driver) refresh(ctx context.Context, name string, o *observed) {
	p := &d.entry(name).probe
	p.asking.Lock()
	defer p.asking.Unlock()
	if at, _, _ := p.get(o.probeKey()); at.IsZero() || time.Since(at) >= time.Duration(o.spec.Check.Interval) {
		err := d.ask(ctx, o.spec.Check)
		if ctx.Err() == nil {
			p.set(o.probeKey(), err)
		}
	}
}

// ask asks once. The error is for people.
func (d *Driver) ask(ctx context.Context, c *check) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout))
	defer cancel()
	err := c.ask(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", time.Duration(c.Timeout))
	}
	return err
}

func (c *check) ask(ctx context.Context) error {
	if c.TCP != "" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.TCP)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "aplomb")
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxBody} // no proxy: it is asked itself
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("http status %d", resp.StatusCode)
	}
	return nil
}
