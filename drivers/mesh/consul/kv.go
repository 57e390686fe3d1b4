package consul

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

const kvPrefix = "kv/"

// A key has no metadata but a number, its flags. aplomb's mark is that number:
// 24 bits that spell "apl", and 40 of SHA-256 of the environment's id. Flags
// without the 24 bits are somebody's own, and no mark.
const (
	flagTag  uint64 = 0x61706c << 40
	flagMask uint64 = 0xffffff << 40
)

// flagsOf is the mark of an environment.
func flagsOf(env string) uint64 {
	sum := sha256.Sum256([]byte("aplomb environment " + env))
	return flagTag | binary.BigEndian.Uint64(sum[:8])>>24
}

// kvs is the keys.
type kvs struct {
	d     *Driver
	flags uint64
	batch batcher
}

func newKV(d *Driver) *kvs {
	k := &kvs{d: d, flags: flagsOf(d.Env)}
	k.batch.send = k.transact
	return k
}

// liveKey is State.Raw.
type liveKey struct{ index uint64 }

func (k *kvs) address(name string, spec json.RawMessage) (string, error) {
	key, err := named(name, spec, "Key")
	if err != nil {
		return "", err
	}
	_, err = keyOf(kvPrefix + key)
	return kvPrefix + key, err
}

func keyOf(handle string) (string, error) {
	key, err := cut(handle, kvPrefix)
	if err == nil && (strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/")) {
		err = driverkit.Refuse("find", handle, errors.New("a key neither begins nor ends with /"), "")
	}
	return key, err
}

// owner is whose a key is by its flags: of another environment no more is known
// than a part of a hash.
func (k *kvs) owner(flags uint64) string {
	switch {
	case flags == k.flags:
		return k.d.Env
	case flags&flagMask == flagTag:
		return fmt.Sprintf("with the mark %010x", flags&^flagMask)
	default:
		return ""
	}
}

func (k *kvs) state(handle string, pair *api.KVPair) (drivers.State, error) {
	spec, err := keySpec(handle, pair.Key, valueWords(pair.Value))
	return drivers.State{
		Handle: handle, Exists: true, Owner: k.owner(pair.Flags), Version: strconv.FormatUint(pair.ModifyIndex, 10), Spec: spec,
		Outputs: map[string]drivers.Output{"key": output(pair.Key), "index": output(pair.ModifyIndex)},
		Health:  drivers.Health{Status: drivers.Healthy}, Raw: liveKey{pair.ModifyIndex},
	}, err
}

// keySpec is a key as a spec. A text, which most are, is written by hand: keys
// come in thousands.
func keySpec(handle, key string, words map[string]any) (json.RawMessage, error) {
	if text, ok := words["Value"].(string); ok && plainText(key) && plainText(text) {
		spec := make([]byte, 0, len(key)+len(text)+24)
		spec = append(append(append(spec, `{"Key":"`...), key...), `","Value":"`...)
		return append(append(spec, text...), `"}`...), nil
	}
	words["Key"] = key
	return canonical(handle, words)
}

// plainText says whether a text stands in JSON as it is.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// keyBody is what write puts.
type keyBody struct{ value []byte }

func (k *kvs) want(it drivers.Item, _ drivers.State) (wanted, error) {
	key, err := keyOf(it.Handle)
	if err != nil {
		return wanted{}, err
	}
	v, err := declaredValue(it.Handle, it.Want)
	if err != nil {
		return wanted{}, err
	}
	spec, err := keySpec(it.Handle, key, v.words)
	w := wanted{spec: spec, unknown: v.unknown, object: keyBody{v.bytes}, outputs: map[string]drivers.Output{"key": output(key)}}
	return w, err
}

func (k *kvs) write(ctx context.Context, c drivers.Change, p plan) (drivers.State, error) {
	gone := drivers.State{Handle: c.Handle}
	key, err := keyOf(c.Handle)
	if err != nil {
		return gone, err
	}
	live, _ := p.live.(liveKey)
	body, ok := p.object.(keyBody)
	if !ok {
		return gone, driverkit.Stale("write", c.Handle)
	}
	if encodedSize(key, body.value) > mostBatch {
		return k.writeLarge(ctx, c.Handle, key, body.value, live.index)
	}
	pair, err := k.batch.do(ctx, &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: body.value, Flags: k.flags, Index: live.index})
	if err != nil {
		return gone, err
	}
	if pair == nil {
		return gone, driverkit.Stale("write", c.Handle)
	}
	pair.Value = body.value // a transaction does not repeat it
	return k.state(c.Handle, pair)
}

// writeLarge writes a value for which a transaction has no room.
func (k *kvs) writeLarge(ctx context.Context, handle, key string, value []byte, index uint64) (drivers.State, error) {
	query := cas(index)
	query.Set("flags", strconv.FormatUint(k.flags, 10))
	a, err := k.d.client.do(ctx, request{op: "write", subject: handle, method: "PUT", path: kvPath(key), query: query, body: value})
	if err != nil {
		return drivers.State{Handle: handle}, err
	}
	if !yes(a) {
		return drivers.State{Handle: handle}, driverkit.Stale("write", handle)
	}
	pairs, err := k.read(ctx, []string{key})
	if err != nil {
		return drivers.State{Handle: handle}, err
	}
	if got := pairs[key]; got.err != nil || got.pair != nil {
		return k.told(handle, got)
	}
	return drivers.State{Handle: handle}, driverkit.Stale("read back", handle)
}

func (k *kvs) remove(ctx context.Context, c drivers.Change, p plan) error {
	key, err := keyOf(c.Handle)
	if err != nil {
		return err
	}
	live, _ := p.live.(liveKey)
	_, err = k.batch.do(ctx, &api.KVTxnOp{Verb: api.KVDeleteCAS, Key: key, Index: live.index})
	return err
}

// transact sends operations as one transaction, and answers what became of
// each: a pair, nothing, or an error. All of them are made, or none is.
func (k *kvs) transact(ctx context.Context, ops []*api.KVTxnOp) ([]*api.KVPair, map[int]error, error) {
	body := make(api.TxnOps, len(ops))
	for i, op := range ops {
		body[i] = &api.TxnOp{KV: op}
	}
	subject := kvPrefix + ops[0].Key
	if len(ops) > 1 {
		subject = fmt.Sprintf("%d keys", len(ops))
	}
	res, failed, err := k.d.client.transact(ctx, "write", subject, body)
	if err != nil {
		return nil, nil, err
	}
	errs := map[int]error{}
	for i, what := range failed {
		errs[i] = refusal("write", kvPrefix+ops[i].Key, 409, errors.New(said([]byte(what))))
	}
	if len(errs) > 0 {
		return nil, errs, nil
	}
	byKey := map[string]*api.KVPair{}
	for _, r := range res {
		if r.KV != nil {
			byKey[r.KV.Key] = r.KV
		}
	}
	pairs := make([]*api.KVPair, len(ops))
	for i, op := range ops {
		pairs[i] = byKey[op.Key]
	}
	return pairs, nil, nil
}

// transact makes a transaction. failed says, by the place of an operation, why
// nothing was made.
func (c *client) transact(ctx context.Context, op, subject string, ops api.TxnOps) (res api.TxnResults, failed map[int]string, err error) {
	r := request{op: op, subject: subject, method: "PUT", path: "txn", body: ops, also: []int{409}}
	a, err := c.do(ctx, r)
	if err != nil {
		return nil, nil, sized(a.status, err)
	}
	var out api.TxnResponse
	if err := decode(r, a.body, &out); err != nil {
		return nil, nil, err
	}
	for _, e := range out.Errors {
		if e != nil && e.OpIndex >= 0 && e.OpIndex < len(ops) {
			if failed == nil {
				failed = map[int]string{}
			}
			failed[e.OpIndex] = e.What
		}
	}
	if a.status == 409 && failed == nil {
		return nil, nil, refusal(op, subject, 409, errors.New("the transaction was rolled back"))
	}
	return out.Results, failed, nil
}

// kvPath is where a key lives.
func kvPath(key string) string { return "kv/" + url.PathEscape(key) }

// list answers the keys that carry a mark. Their values are all read: Consul
// has no list of flags alone.
func (k *kvs) list(ctx context.Context) ([]drivers.State, error) {
	pairs, _, err := k.below(ctx, "", nil)
	if err != nil {
		return nil, err
	}
	var states []drivers.State
	for _, pair := range pairs {
		if k.owner(pair.Flags) == "" {
			continue
		}
		s, err := k.state(kvPrefix+pair.Key, pair)
		if err != nil {
			return nil, err
		}
		states = append(states, s)
	}
	return states, nil
}
