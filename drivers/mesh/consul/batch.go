package consul

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// A transaction takes 128 operations, and a body of 512 KiB.
const (
	opsAtOnce = 128
	mostBatch = 384 << 10 // bytes of a body, as far as it can be told
)

// sendTimeout bounds one transaction: several callers wait for it, and none of
// them alone ends it.
const sendTimeout = 30 * time.Second

// batcher makes writes of keys that are asked for at the same time in one
// transaction. One that is asked for alone goes at once; those that come while
// a transaction is under way go together in the next. Each write is a
// compare-and-set of its own: one that fails is taken out, and the rest, of
// which nothing was made, is sent again. The zero value lacks send only.
type batcher struct {
	send func(context.Context, []*api.KVTxnOp) ([]*api.KVPair, map[int]error, error)

	mu    sync.Mutex
	queue []*write
	busy  bool
}

// write is one operation that waits.
type write struct {
	op   *api.KVTxnOp
	done chan struct{}
	gone bool // nobody waits any more; it is sent no more, if it was not yet
	pair *api.KVPair
	err  error
}

// do makes one operation, and answers the pair that is stored then.
func (b *batcher) do(ctx context.Context, op *api.KVTxnOp) (*api.KVPair, error) {
	w := &write{op: op, done: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, w)
	begin := !b.busy
	b.busy = true
	b.mu.Unlock()
	if begin {
		go b.run(context.WithoutCancel(ctx))
	}
	select {
	case <-w.done:
		return w.pair, w.err
	case <-ctx.Done():
		b.mu.Lock()
		w.gone = true
		b.mu.Unlock()
		return nil, driverkit.Fail("write", kvPrefix+op.Key, ctx.Err())
	}
}

// run sends until nothing waits.
func (b *batcher) run(ctx context.Context) {
	for {
		ws := b.next()
		if ws == nil {
			return
		}
		b.finish(ctx, ws)
	}
}

// next takes what fits into one transaction, and each key once.
func (b *batcher) next() []*write {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ws, rest []*write
	size, keys := 0, map[string]bool{}
	for _, w := range b.queue {
		n := encodedSize(w.op.Key, w.op.Value)
		switch {
		case w.gone:
		case len(ws) == opsAtOnce || len(ws) > 0 && size+n > mostBatch || keys[w.op.Key]:
			rest = append(rest, w)
		default:
			ws, size, keys[w.op.Key] = append(ws, w), size+n, true
		}
	}
	b.queue = rest
	b.busy = len(ws) > 0
	return ws
}

// encodedSize is about what an operation takes of a body.
func encodedSize(key string, value []byte) int { return len(value)*4/3 + 2*len(key) + 200 }

// finish sends writes, without those that fail, until the rest is made.
func (b *batcher) finish(ctx context.Context, ws []*write) {
	for len(ws) > 0 {
		ops := make([]*api.KVTxnOp, len(ws))
		for i, w := range ws {
			ops[i] = w.op
		}
		sending, cancel := context.WithTimeout(ctx, sendTimeout)
		pairs, failed, err := b.send(sending, ops)
		cancel()
		if tooMany(err) && len(ws) > 1 { // this Consul takes less
			b.finish(ctx, ws[:len(ws)/2])
			ws = ws[len(ws)/2:]
			continue
		}
		var rest []*write
		for i, w := range ws {
			switch {
			case err != nil:
				w.err = err
			case failed[i] != nil:
				w.err = failed[i]
			case len(failed) > 0:
				rest = append(rest, w)
				continue
			default:
				w.pair = pairs[i]
			}
			close(w.done)
		}
		ws = rest
	}
}

// errTooMany is a transaction that this Consul has no room for.
var errTooMany = errors.New("too large a transaction")

func tooMany(err error) bool {
	var e *drivers.Error
	return errors.As(err, &e) && errors.Is(e.Err, errTooMany)
}

// sized marks the refusal of a transaction for its size.
func sized(status int, err error) error {
	var e *drivers.Error
	if status == http.StatusRequestEntityTooLarge && errors.As(err, &e) {
		e.Err = errors.Join(errTooMany, e.Err)
	}
	return err
}
