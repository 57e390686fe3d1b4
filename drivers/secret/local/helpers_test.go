package local

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func fingerprint(b []byte) string {
	h := hmac.New(sha256.New, []byte("a key of the tests"))
	_, _ = h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

func newDriver(t testing.TB) *Driver {
	t.Helper()
	dir := t.TempDir()
	return &Driver{Env: "env-1", Dir: dir, Fingerprint: fingerprint}
}

// world drives one resource as the reconciler would: it keeps what was applied.
type world struct {
	t    testing.TB
	d    drivers.Driver
	item drivers.Item
	// the values of secret fields, whole
	secrets map[schema.Path]schema.Secret
}

func newWorld(t testing.TB, d drivers.Driver, kind, name string, want drivers.Desired) *world {
	t.Helper()
	handle, err := d.Address(kind, name, want.Spec)
	if err != nil {
		t.Fatal(err)
	}
	id := schema.ID{Kind: kind, Name: name, Target: "local"}
	return &world{t: t, d: d, item: drivers.Item{ID: id, Want: &want, Handle: handle}}
}

func spec(t testing.TB, v map[string]any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) observe() drivers.State {
	w.t.Helper()
	states, err := w.d.Observe(context.Background(), []drivers.Item{w.item})
	if err != nil {
		w.t.Fatal(err)
	}
	if states[0].Err != nil {
		w.t.Fatal(states[0].Err)
	}
	return states[0]
}

func (w *world) plan() drivers.Change {
	w.t.Helper()
	c, err := w.d.Plan(context.Background(), w.item, w.observe())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) apply(c drivers.Change) (drivers.State, error) {
	c.Secrets, c.Nonce = w.secrets, "nonce-1"
	s, err := w.d.Apply(context.Background(), c)
	if err == nil && w.item.Want != nil {
		w.item.Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: w.item.Want.Spec, Files: w.item.Want.Files.Hash()}
	}
	return s, err
}

// settle applies what is planned and checks that nothing is left to plan.
func (w *world) settle(want schema.Action) drivers.State {
	w.t.Helper()
	c := w.plan()
	if c.Action != want {
		w.t.Fatalf("planned %s with %+v, want %s", c.Action, c.Diff, want)
	}
	s, err := w.apply(c)
	if err != nil {
		w.t.Fatal(err)
	}
	if again := w.plan(); again.Action != schema.None || len(again.Diff) > 0 {
		w.t.Fatalf("after %s: planned %s with %+v", want, again.Action, again.Diff)
	}
	return s
}

func contextWith(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}
