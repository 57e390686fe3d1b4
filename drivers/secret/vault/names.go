package vault

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// fresh is how old a list of names may be that tells just before a write that a
// name is free. It is of the order of the way to Vault and back, within which
// somebody else's write is missed however it is asked for.
const fresh = 100 * time.Millisecond

// absent is the source for a policy that is about to be made: that it is not
// there yet is told by a list of names, which those who make some at the same
// time share.
func (p policies) absent(d *Driver) source {
	return func(ctx context.Context, handle string, spec json.RawMessage) (*found, error) {
		name, err := p.name(handle)
		if err != nil {
			return nil, err
		}
		free, err := d.names.free(ctx, d.Now, p.path, name, func(ctx context.Context) ([]string, error) {
			return d.list(ctx, strings.TrimSuffix(p.path, "/"))
		})
		if err == nil && free {
			return nil, nil
		}
		find, err := p.open(ctx, d, 1)
		if err != nil {
			return nil, err
		}
		return find(ctx, handle, spec)
	}
}

// names are lists of names that are shared: who asks while one is being read
// that is too old waits for the next. The zero value is ready.
type names struct {
	mu   sync.Mutex
	last map[string]*reading
}

// reading is a list of names, being read or read.
type reading struct {
	began time.Time
	done  chan struct{}
	err   error

	mu   sync.Mutex
	have map[string]bool
}

// free says whether nothing had a name at some time not long ago, nor was given
// it by this driver since.
func (n *names) free(ctx context.Context, now func() time.Time, path, name string, list func(context.Context) ([]string, error)) (bool, error) {
	n.mu.Lock()
	if n.last == nil {
		n.last = map[string]*reading{}
	}
	r := n.last[path]
	if r == nil || now().Sub(r.began) >= fresh {
		r = &reading{began: now(), done: make(chan struct{}), have: map[string]bool{}}
		n.last[path] = r
		go r.read(context.WithoutCancel(ctx), list)
	}
	n.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		return false, driverkit.FailHTTP("list", path, 0, context.Cause(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.have[name], r.err
}

// read reads the list for all that wait for it.
func (r *reading) read(ctx context.Context, list func(context.Context) ([]string, error)) {
	ctx, cancel := context.WithTimeout(ctx, drivers.CallTimeout)
	defer cancel()
	all, err := list(ctx)
	r.mu.Lock()
	r.err = err
	for _, name := range all {
		r.have[name] = true
	}
	r.mu.Unlock()
	close(r.done)
}

// made notes that a name is taken.
func (n *names) made(path, name string) {
	n.mu.Lock()
	r := n.last[path]
	n.mu.Unlock()
	if r != nil {
		r.mu.Lock()
		r.have[name] = true
		r.mu.Unlock()
	}
}
