package consul

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// readsAtOnce is how many keys one transaction reads: Consul's limit.
const readsAtOnce = 128

// readKey is what one key was read as; neither: it does not exist.
type readKey struct {
	pair *api.KVPair
	err  error
}

func (k *kvs) observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	keys := make([]string, 0, len(items))
	for _, it := range items {
		if key, err := keyOf(it.Handle); err == nil {
			keys = append(keys, key)
		}
	}
	found, err := k.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	return each(items, func(it drivers.Item) (drivers.State, error) {
		key, err := keyOf(it.Handle)
		if err != nil {
			return drivers.State{}, err
		}
		return k.told(it.Handle, found[key])
	})
}

// told is the state of a key as it was read.
func (k *kvs) told(handle string, got readKey) (drivers.State, error) {
	if got.err != nil || got.pair == nil {
		return drivers.State{}, got.err
	}
	return k.state(handle, got.pair)
}

// read reads keys in as few requests as it takes: those of one folder by one
// request where there are too many for one transaction, else by transactions.
func (k *kvs) read(ctx context.Context, keys []string) (map[string]readKey, error) {
	if len(keys) > readsAtOnce {
		if folder := commonFolder(keys); folder != "" {
			pairs, list, err := k.below(ctx, folder, nil)
			whole := !errors.Is(err, drivers.ErrPermanent) && !list.hidden // else it is too large, or has holes
			if whole {
				return found(pairs), err
			}
		}
	}
	if len(keys) == 1 && path.Clean("/"+keys[0]) == "/"+keys[0] { // what a path cannot say, a transaction can
		return k.readOne(ctx, keys[0])
	}
	all := map[string]readKey{}
	errs := make([]error, 0, len(keys)/readsAtOnce+1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for chunk := range slices.Chunk(keys, readsAtOnce) {
		wg.Go(func() {
			got, err := k.readChunk(ctx, chunk)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			for key, r := range got {
				all[key] = r
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readOne reads one key.
func (k *kvs) readOne(ctx context.Context, key string) (map[string]readKey, error) {
	var pairs []*api.KVPair
	r := request{op: "read", subject: kvPrefix + key, path: kvPath(key), also: []int{http.StatusNotFound}}
	_, err := k.d.client.get(ctx, r, &pairs)
	return found(pairs), err
}

// commonFolder is the deepest folder that holds all keys, or "".
func commonFolder(keys []string) string {
	folder := keys[0]
	for _, key := range keys {
		for !strings.HasPrefix(key, folder) {
			folder = folder[:len(folder)-1]
		}
	}
	return folder[:strings.LastIndexByte(folder, '/')+1]
}

func found(pairs []*api.KVPair) map[string]readKey {
	all := make(map[string]readKey, len(pairs))
	for _, pair := range pairs {
		all[pair.Key] = readKey{pair: pair}
	}
	return all
}

// below reads everything whose key begins with a prefix. A wait in query makes
// it block.
func (k *kvs) below(ctx context.Context, prefix string, query url.Values) ([]*api.KVPair, answer, error) {
	q := url.Values{"recurse": {""}}
	for name, v := range query {
		q[name] = v
	}
	var pairs []*api.KVPair
	r := request{op: "list", subject: kvPrefix + prefix, path: kvPath(prefix), query: q, also: []int{http.StatusNotFound}}
	a, err := k.d.client.get(ctx, r, &pairs)
	return pairs, a, err
}

// readChunk reads keys by one transaction. A key that the token may not read
// fails the whole of it, so the rest is asked for again.
func (k *kvs) readChunk(ctx context.Context, keys []string) (map[string]readKey, error) {
	all := map[string]readKey{}
	for left := keys; len(left) > 0; {
		ops := make(api.TxnOps, len(left))
		for i, key := range left {
			ops[i] = &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: key}}
		}
		res, failed, err := k.d.client.transact(ctx, "read", kvPrefix+left[0], ops)
		if err != nil {
			return nil, err
		}
		if len(failed) == 0 {
			k.fill(all, left, res)
			return all, nil
		}
		var rest []string
		for i, key := range left {
			if what, bad := failed[i]; bad {
				all[key] = readKey{err: refusal("read", kvPrefix+key, http.StatusConflict, errors.New(said([]byte(what))))}
			} else {
				rest = append(rest, key)
			}
		}
		left = rest
	}
	return all, nil
}

// fill takes the results of a read. Consul leaves out what the token may not
// read; what does not exist is there, with no index.
func (k *kvs) fill(all map[string]readKey, keys []string, res api.TxnResults) {
	told := map[string]bool{}
	for _, r := range res {
		if r.KV == nil {
			continue
		}
		told[r.KV.Key] = true
		if r.KV.ModifyIndex != 0 {
			all[r.KV.Key] = readKey{pair: r.KV}
		}
	}
	for _, key := range keys {
		if !told[key] {
			all[key] = readKey{err: driverkit.FailHTTP("read", kvPrefix+key, http.StatusForbidden, errors.New("it is left out of the answer"))}
		}
	}
}
