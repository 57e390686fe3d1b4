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
	mu     sync.Mutex // held while it is asked: one at a time
	key    string     // what was asked, and of which runs
	at     time.Time
	err    error
	passed bool // at least once, with this key
}

// health of a group as it was seen.
func (d *Driver) health(ctx context.Context, name string, o *observed) drivers.Health {
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
		if err, before := d.probed(ctx, name, o); err != nil {
			status := drivers.Progressing
			if before {
				status = drivers.Unhealthy
			}
			return drivers.Health{Status: status, Reason: "check: " + err.Error()}
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
		return drivers.Health{Status: drivers.Unhealthy, Reason: join(bad) + "; it runs again when its spec changes"}
	case done < o.spec.Count:
		return drivers.Health{Status: drivers.Progressing, Reason: fmt.Sprintf("%d of %d completed", done, o.spec.Count)}
	default:
		return drivers.Health{Status: drivers.Healthy, Reason: "completed"}
	}
}

// probed is the answer to the check of a group, at most one interval old, and
// whether it ever passed for the runs that live now.
func (d *Driver) probed(ctx context.Context, name string, o *observed) (err error, before bool) {
	p := &d.entry(name).probe
	p.mu.Lock()
	defer p.mu.Unlock()
	key := o.version + fmt.Sprint(*o.spec.Check)
	if p.key != key {
		p.key, p.at, p.passed = key, time.Time{}, false
	}
	if p.at.IsZero() || time.Since(p.at) >= time.Duration(o.spec.Check.Interval) {
		p.err = d.ask(ctx, o.spec.Check)
		p.at = time.Now()
		p.passed = p.passed || p.err == nil
	}
	return p.err, p.passed
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
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("http status %d", resp.StatusCode)
	}
	return nil
}
