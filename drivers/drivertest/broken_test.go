package drivertest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	env      = "7f3a"
	breakEnv = "DRIVERTEST_BREAK"
)

// broken is a driver with one thing wrong with it.
type broken struct {
	*memory.Driver
	fault

	calls atomic.Int64
	first drivers.Item // that Plan was asked about last
}

// fault alters what a driver answers; nil functions leave it alone.
type fault struct {
	says    string // what the suite must blame
	address func(handle string, call int64) string
	states  func(items []drivers.Item, states []drivers.State, err error) ([]drivers.State, error)
	change  func(b *broken, live drivers.State, c drivers.Change) drivers.Change
	before  func(c drivers.Change) drivers.Change
	after   func(b *broken, c drivers.Change, s drivers.State, err error) (drivers.State, error)
	deaf    bool
	strict  bool // Check refuses what Plan takes
	claims  func(name string) drivers.Claim
	wants   func(kind, name string) []string
	reveals func(call int64) string
}

func (b *broken) Address(kind, name string, spec json.RawMessage) (string, error) {
	h, err := b.Driver.Address(kind, name, spec)
	if b.address != nil && err == nil {
		h = b.address(h, b.calls.Add(1))
	}
	return h, err
}

func (b *broken) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	states, err := b.Driver.Observe(ctx, items)
	if b.states != nil {
		return b.states(items, states, err)
	}
	return states, err
}

func (b *broken) Plan(ctx context.Context, item drivers.Item, live drivers.State) (drivers.Change, error) {
	c, err := b.Driver.Plan(ctx, item, live)
	if b.change != nil && err == nil {
		b.first = item
		c = b.change(b, live, c)
	}
	return c, err
}

func (b *broken) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	if b.before != nil {
		c = b.before(c)
	}
	s, err := b.Driver.Apply(ctx, c)
	if b.after != nil {
		return b.after(b, c, s, err)
	}
	return s, err
}

func (b *broken) Watch(ctx context.Context, changed func(handles ...string)) error {
	if b.deaf {
		<-ctx.Done()
		return nil
	}
	return b.Driver.Watch(ctx, changed)
}

func (b *broken) Reveal(ctx context.Context, item drivers.Item, output, fingerprint string) (schema.Secret, error) {
	if b.reveals != nil {
		return schema.NewSecret(b.reveals(b.calls.Add(1))), nil
	}
	return b.Driver.Reveal(ctx, item, output, fingerprint)
}

func (b *broken) Check(_, name string, _ drivers.Desired) error {
	if b.strict {
		return &drivers.Error{Op: "check", Subject: name, Class: drivers.ErrPermanent}
	}
	return nil
}

func (b *broken) Claims(_, name string, _ drivers.Desired) []drivers.Claim {
	if b.claims != nil {
		return []drivers.Claim{b.claims(name)}
	}
	return nil
}

func (b *broken) Needs(kind, name string, _ drivers.Desired) []string {
	if b.wants != nil {
		return b.wants(kind, name)
	}
	return nil
}

// each alters every state that exists.
func each(f func(*drivers.State)) func([]drivers.Item, []drivers.State, error) ([]drivers.State, error) {
	return func(_ []drivers.Item, states []drivers.State, err error) ([]drivers.State, error) {
		for i := range states {
			if states[i].Exists {
				f(&states[i])
			}
		}
		return states, err
	}
}

var counter atomic.Int64

func faults() map[string]fault {
	const plaintext = "No plaintext secret is in State, Change, logs, errors or files"
	return map[string]fault{
		"too strict":         {says: "What Check refuses Plan or Apply would too", strict: true},
		"claims all":         {says: "no other of the target may claim the same", claims: func(string) drivers.Claim { return drivers.Claim{Thing: "all"} }},
		"claims what it may": {says: "Claims is pure", claims: func(string) drivers.Claim { return drivers.Claim{Thing: fmt.Sprint(counter.Add(1))} }},
		"needs itself":       {says: "must be there before", wants: func(kind, name string) []string { return []string{kind + "/" + name} }},
		"wandering address":  {says: "Address is the engine's own address", address: func(h string, n int64) string { return fmt.Sprint(h, n) }},
		"answers in another order": {says: "in the same order", states: func(_ []drivers.Item, s []drivers.State, err error) ([]drivers.State, error) {
			slices.Reverse(s)
			return s, err
		}},
		"one item fails all": {says: "State.Err is that item's alone", states: func(items []drivers.Item, s []drivers.State, err error) ([]drivers.State, error) {
			if slices.ContainsFunc(items, func(it drivers.Item) bool { return strings.Contains(it.Handle, "\x00") }) {
				return nil, errors.New("bad request")
			}
			return s, err
		}},
		"something of what is absent": {says: "Exists false: everything below is zero", states: func(_ []drivers.Item, s []drivers.State, err error) ([]drivers.State, error) {
			for i := range s {
				s[i].Spec = json.RawMessage(`{}`)
			}
			return s, err
		}},
		"gone when out of reach": {says: "the whole target is out of reach", states: func(items []drivers.Item, s []drivers.State, err error) ([]drivers.State, error) {
			if err != nil {
				return make([]drivers.State, len(items)), nil
			}
			return s, nil
		}},
		"no health":          {says: "Healthy", states: each(func(s *drivers.State) { s.Health = drivers.Health{} })},
		"no owner":           {says: "Owner is the environment id of the mark", states: each(func(s *drivers.State) { s.Owner = "" })},
		"one version always": {says: "Version changes whenever Plan's answer could", states: each(func(s *drivers.State) { s.Version = "1" })},
		"a secret output's value": {says: "a secret has no Value", states: each(func(s *drivers.State) {
			s.Outputs = map[string]drivers.Output{"value": {Secret: true, Value: json.RawMessage(`"x"`), Fingerprint: "1"}}
		})},
		"plans that write": {says: "Plan never writes", change: func(b *broken, _ drivers.State, c drivers.Change) drivers.Change {
			if c.Action == schema.Create && c.Handle != "" {
				_, _ = b.Engine.ForeignCreate(c.ID.Kind, c.ID.Name, "", json.RawMessage(`{}`))
			}
			return c
		}},
		"plans that differ": {says: "the same item and state give the same Action and Diff", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			c.Why = fmt.Sprint(counter.Add(1))
			return c
		}},
		"diff without order": {says: "ordered by path", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			slices.Reverse(c.Diff)
			return c
		}},
		"never settles": {says: "planning again gives update", change: func(_ *broken, live drivers.State, c drivers.Change) drivers.Change {
			if c.Action == schema.None && live.Exists {
				c.Action = schema.Update
			}
			return c
		}},
		"replaces as updates": {says: "an immutable field moved, and the action is update", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			if c.Action == schema.Replace {
				c.Action = schema.Update
			}
			return c
		}},
		"adopts unasked": {says: "it lives, unmarked", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			if c.Action == schema.Adopt {
				c.Action = schema.Update
			}
			return c
		}},
		"deletes without a before": {says: "Before is the normalised live spec", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			c.Before = nil
			return c
		}},
		"forgets the unknown": {says: "Unknown: After is known after a need is applied", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			for i := range c.Diff {
				c.Diff[i].Unknown = false
			}
			return c
		}},
		"promises too much": {says: "what will hold after", change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change {
			if c.Action == schema.Update {
				c.Outputs["generation"] = drivers.Output{Value: json.RawMessage("1")}
			}
			return c
		}},
		"alters more than it says": {says: "Apply alters no field that Change.Diff does not name", before: func(c drivers.Change) drivers.Change {
			if c.Action == schema.Update {
				c.Diff = append(slices.Clone(c.Diff), drivers.Delta{Path: "/more", Op: schema.Create, After: json.RawMessage("1")})
			}
			return c
		}},
		"writes over what moved": {says: "ErrStale: live moved since Plan, nothing was written",
			change: func(_ *broken, _ drivers.State, c drivers.Change) drivers.Change { return c },
			after: func(b *broken, c drivers.Change, s drivers.State, err error) (drivers.State, error) {
				if errors.Is(err, drivers.ErrStale) && c.Action == schema.Update {
					err = b.Engine.ForeignEdit(c.Handle, b.first.Want.Spec)
				}
				return s, err
			}},
		"deletes once": {says: "a delete of what is gone already", after: func(_ *broken, c drivers.Change, s drivers.State, err error) (drivers.State, error) {
			if c.Action == schema.Delete && counter.Add(1)%2 == 0 {
				err = &drivers.Error{Op: "delete", Subject: c.Handle, Class: drivers.ErrPermanent}
			}
			return s, err
		}},
		"makes it twice": {says: "Nonce: what a create that may have landed is found again by", before: func(c drivers.Change) drivers.Change {
			c.Nonce = fmt.Sprint(c.Nonce, counter.Add(1))
			return c
		}},
		"refusal that passes": {says: "ErrPermanent: will fail again", after: func(_ *broken, _ drivers.Change, s drivers.State, err error) (drivers.State, error) {
			if errors.Is(err, drivers.ErrPermanent) {
				err = &drivers.Error{Op: "write", Subject: "it", Class: drivers.ErrDenied}
			}
			return s, err
		}},
		"denial that is refusal": {says: "ErrDenied: credentials do not allow it", after: func(_ *broken, _ drivers.Change, s drivers.State, err error) (drivers.State, error) {
			if errors.Is(err, drivers.ErrDenied) {
				err = &drivers.Error{Op: "write", Subject: "it", Class: drivers.ErrPermanent}
			}
			return s, err
		}},
		"error that tells": {says: plaintext, after: func(_ *broken, c drivers.Change, s drivers.State, err error) (drivers.State, error) {
			if p, has := c.Secrets["/password"]; has && err != nil {
				err = fmt.Errorf("%w: cannot write %s", err, p.Reveal())
			}
			return s, err
		}},
		"state that tells in base64": {says: plaintext, after: func(_ *broken, c drivers.Change, s drivers.State, err error) (drivers.State, error) {
			if p, has := c.Secrets["/password"]; has {
				s.Health.Reason = base64.StdEncoding.EncodeToString([]byte("a:" + p.Reveal()))
			}
			return s, err
		}},
		"secret that wanders": {says: "a restart moved value", reveals: func(n int64) string { return fmt.Sprint("value ", n, counter.Add(1)) }},
		"deaf":                {says: "Watch calls changed", deaf: true},
	}
}

func harness(f fault) drivertest.Harness {
	h := drivertest.Harness{Driver: "broken", Env: env, Patience: 500 * time.Millisecond}
	for _, kind := range memory.Kinds() {
		s := drivertest.Sample{
			Kind: kind, A: `{"class":"a","value":1}`, B: `{"class":"a","value":2}`, C: `{"class":"b","value":1}`, D: `{"class":"a","value":3}`,
			X: `{"fail":"no"}`, Unknown: "/value", Secret: "/password", Outputs: []string{"id", "value", "size", "generation"}, Marks: true,
		}
		if kind == memory.KindSecret {
			s.Secrets = []string{"value"}
		}
		h.Samples = append(h.Samples, s)
	}
	h.Open = func(*testing.T) *drivertest.Engine {
		e := &memory.Engine{}
		return &drivertest.Engine{
			New: func(*testing.T) drivers.Driver {
				return &broken{Driver: &memory.Driver{Engine: e, Env: env}, fault: f}
			},
			Create: func(t *testing.T, s drivertest.Sample, _, spec, owner string) string {
				h, err := e.ForeignCreate(s.Kind, "sample", owner, json.RawMessage(spec))
				if err != nil {
					t.Fatal(err)
				}
				return h
			},
			Edit: func(t *testing.T, handle, spec string) {
				if err := e.ForeignEdit(handle, json.RawMessage(spec)); err != nil {
					t.Fatal(err)
				}
			},
			Reach: func(on bool) { e.SetUnreachable(!on) },
			Deny:  e.SetDenied,
			Tick:  func() { e.Tick(1) },
		}
	}
	return h
}

// TestBroken is what TestSuiteFindsFaults starts, once a fault, and alone it
// is a driver without one.
func TestBroken(t *testing.T) { drivertest.Run(t, harness(faults()[os.Getenv(breakEnv)])) }

// TestSuiteFindsFaults: every driver with something wrong fails, and the
// failure names the driver and the sentence.
func TestSuiteFindsFaults(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range faults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestBroken$")
			cmd.Env = append(os.Environ(), breakEnv+"="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("the suite passed it, or did not run: %v\n%s", err, out)
			}
			if !strings.Contains(string(out), "driver broken, kind memory.") || !strings.Contains(string(out), f.says) {
				t.Errorf("the failure does not say %q:\n%s", f.says, out)
			}
		})
	}
}
