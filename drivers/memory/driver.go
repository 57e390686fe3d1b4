package memory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// The kinds. All take a free JSON object with these fields known: id (the
// address, where it must differ from the name), value (anything), size, count,
// class (immutable), password (secret), fail (the engine refuses the write with
// this text) and unhealthy (it never gets healthy, for this reason). Outputs:
// id, value, size, and generation, which every write changes.
const (
	KindThing  = "memory.thing"  // lives under its id or name
	KindGiven  = "memory.given"  // the engine gives the id
	KindSecret = "memory.secret" // its output value is a secret of size characters that the engine makes, anew when size changes
)

// Kinds lists every kind.
func Kinds() []string { return []string{KindGiven, KindSecret, KindThing} }

// Driver is the client of an Engine for one environment. Its fields are set
// before the first call.
type Driver struct {
	Engine      *Engine
	Env         string                // environment id: what the mark holds
	Fingerprint drivers.Fingerprinter // nil: HMAC-SHA256 with Env as the key

	dead atomic.Bool
}

var (
	_ drivers.Driver   = (*Driver)(nil)
	_ drivers.Watcher  = (*Driver)(nil)
	_ drivers.Lister   = (*Driver)(nil)
	_ drivers.Revealer = (*Driver)(nil)
)

// Kill cuts the driver off, as the end of its process would: no call of it
// reaches the engine any more, except that a write under way lands late where
// Quirks.LateLanding says so. It may be called from within a Hook.
func (d *Driver) Kill() { d.dead.Store(true) }

// given says whether the engine chooses the ids of a kind.
func (d *Driver) given(kind string) bool {
	return kind == KindGiven || d.Engine.Quirks.EngineIDs && kind == KindThing
}

// Address implements drivers.Driver.
func (d *Driver) Address(kind, name string, spec json.RawMessage) (string, error) {
	if err := known(kind); err != nil {
		return "", err
	}
	if d.given(kind) {
		return "", nil
	}
	var s struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		return "", fail("read spec", kind+"/"+name, drivers.ErrPermanent, err)
	}
	switch {
	case s.ID == "":
		return kind + "/" + name, nil
	case schema.HasMark(s.ID):
		return "", fail("read spec", kind+"/"+name, drivers.ErrPermanent, fmt.Errorf("id is the address and may hold no reference"))
	default:
		return kind + "/" + s.ID, nil
	}
}

func known(kind string) error {
	switch kind {
	case KindThing, KindGiven, KindSecret:
		return nil
	}
	return fail("find kind", kind, drivers.ErrPermanent, fmt.Errorf("no such kind"))
}

// reach is what every call meets first.
func (d *Driver) reach(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fail(op, "engine", drivers.ErrRetryable, err)
	}
	if d.dead.Load() {
		return fail(op, "engine", drivers.ErrUnreachable, errDead)
	}
	return nil
}

// Observe implements drivers.Driver. The Spec and Outputs of a State are shared
// between calls: read them only.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	if err := d.reach(ctx, "observe"); err != nil {
		return nil, err
	}
	e := d.Engine
	e.lock()
	defer e.unlock()
	e.step()
	if e.unreachable {
		return nil, fail("observe", "engine", drivers.ErrUnreachable, errDown)
	}
	states := make([]drivers.State, len(items))
	for i := range items {
		o := e.find(items[i].Handle, items[i].Nonce)
		switch {
		case e.chance(e.Quirks.FaultRead):
			states[i] = drivers.State{Handle: items[i].Handle, Err: fail("read", items[i].Handle, drivers.ErrRetryable, errFault)}
		case o == nil:
			states[i] = drivers.State{Handle: items[i].Handle}
		case e.steps < o.tornUntil:
			states[i] = drivers.State{Handle: o.handle, Err: fail("read", o.handle, drivers.ErrWaiting, nil)}
		default:
			states[i] = d.state(o)
		}
	}
	return states, nil
}

// state tells what o is, under the engine's lock.
func (d *Driver) state(o *object) drivers.State {
	if o == nil {
		return drivers.State{}
	}
	e := d.Engine
	s := drivers.State{
		Handle: o.handle, Owner: o.owner, Exists: true,
		Spec: o.json, Outputs: o.outputs, Health: e.health(o), Raw: o,
	}
	if !e.Quirks.OpaquePlans {
		s.Version = o.version
	}
	if o.secret {
		s.Spec = d.readBack(o)
	}
	return s
}

// readBack is the spec as the engine tells it: the password as a token, or not
// at all where it is only written.
func (d *Driver) readBack(o *object) json.RawMessage {
	if !o.secret || d.Engine.Quirks.WriteOnly {
		return o.json
	}
	return marshalSpec(o.spec, d.token(o.spec[secretField]))
}

// health is how o does now.
func (e *Engine) health(o *object) drivers.Health {
	if len(e.unhealthy) > 0 {
		if h, set := e.unhealthy[o.handle]; set {
			return h
		}
	}
	switch {
	case o.goneAt > 0:
		return drivers.Health{Status: drivers.Progressing, Reason: "being deleted"}
	case o.half:
		return drivers.Health{Status: drivers.Progressing, Reason: "half made"}
	case o.sick != "":
		return drivers.Health{Status: drivers.Unhealthy, Reason: o.sick}
	case e.steps < o.healthyAt && !o.none:
		return drivers.Health{Status: drivers.Progressing, Reason: strconv.Itoa(o.healthyAt-e.steps) + " steps to go"}
	}
	return drivers.Health{Status: drivers.Healthy}
}

// token stands for a secret that the driver has read.
func (d *Driver) token(secret any) string {
	text, ok := secret.(string)
	if !ok {
		text = string(mustJSON(secret))
	}
	if d.Fingerprint != nil {
		return schema.Token(d.Fingerprint([]byte(text)))
	}
	m := hmac.New(sha256.New, []byte(d.Env))
	_, _ = m.Write([]byte(text))
	return schema.Token(hex.EncodeToString(m.Sum(nil)))
}

// List implements drivers.Lister: everything that lives, by handle.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	if err := d.reach(ctx, "list"); err != nil {
		return nil, err
	}
	e := d.Engine
	e.lock()
	defer e.unlock()
	e.step()
	if e.unreachable {
		return nil, fail("list", "engine", drivers.ErrUnreachable, errDown)
	}
	all := e.sorted()
	states := make([]drivers.State, len(all))
	for i, o := range all {
		states[i] = d.state(o)
	}
	return states, nil
}

// Reveal implements drivers.Revealer.
func (d *Driver) Reveal(ctx context.Context, item drivers.Item, output, fingerprint string) (schema.Secret, error) {
	if err := d.reach(ctx, "reveal"); err != nil {
		return schema.Secret{}, err
	}
	e := d.Engine
	e.lock()
	defer e.unlock()
	e.step()
	o := e.find(item.Handle, item.Nonce)
	switch {
	case e.unreachable:
		return schema.Secret{}, fail("reveal", item.Handle, drivers.ErrUnreachable, errDown)
	case e.chance(e.Quirks.FaultReveal):
		return schema.Secret{}, fail("reveal", item.Handle, drivers.ErrDenied, errForbid)
	case o == nil || o.half || o.goneAt > 0:
		return schema.Secret{}, fail("reveal", item.Handle, drivers.ErrStale, errGone)
	case o.kind != KindSecret || output != "value":
		return schema.Secret{}, fail("reveal", item.Handle, drivers.ErrPermanent, fmt.Errorf("no secret output %q", output))
	}
	if fingerprint != o.outputs[output].Fingerprint {
		return schema.Secret{}, fail("reveal", item.Handle, drivers.ErrStale, errMoved)
	}
	return schema.NewSecret(o.value), nil
}

// Watch implements drivers.Watcher. Handles that change while changed runs come
// with its next call.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	var mu sync.Mutex
	var pending []string
	ready := make(chan struct{}, 1)
	stop := d.Engine.Subscribe(func(handle string) {
		mu.Lock()
		pending = append(pending, handle)
		mu.Unlock()
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
		}
		if d.dead.Load() {
			return fail("watch", "engine", drivers.ErrUnreachable, errDead)
		}
		mu.Lock()
		handles := pending
		pending = nil
		mu.Unlock()
		changed(handles...)
	}
}
