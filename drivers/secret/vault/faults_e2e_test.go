//go:build e2e

package vault

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

var faults = map[enginetest.Fault]string{
	enginetest.Refuse: "refused", enginetest.Slow: "slow", enginetest.Busy: "busy", enginetest.Broken: "broken", enginetest.Cut: "cut", enginetest.Lost: "lost",
}

// once meddles with the first request that is one.
func (s *server) once(fault enginetest.Fault, one func(*http.Request) bool) {
	s.proxy.Delay = 100 * time.Millisecond
	met := false
	s.proxy.Meddle(func(q *http.Request) enginetest.Fault {
		if met || !one(q) {
			return enginetest.Pass
		}
		met = true
		return fault
	})
}

// stubborn does as a reconciler does that dies with every error: a new driver
// looks, plans and applies, until nothing is left to do.
func (s *server) stubborn(r *drivertest.Resource) {
	s.Helper()
	var last error
	for range 6 {
		r.Driver = s.driver()
		states, err := r.Driver.Observe(s.Context(), []drivers.Item{r.Item})
		if err == nil {
			err = states[0].Err
		}
		if last = err; err != nil {
			continue
		}
		c, err := r.Driver.Plan(s.Context(), r.Item, states[0])
		drivertest.Must(s, err)
		if c.Action == schema.None {
			s.proxy.Meddle(nil)
			if want := r.Item.Want; want != nil {
				r.Item.Last = &drivers.Applied{Handle: r.Item.Handle, Version: states[0].Version, Spec: want.Spec}
			}
			return
		}
		_, last = r.Apply(c)
		if class := drivers.Class(last); last != nil && (class == drivers.ErrPermanent || class == drivers.ErrDenied) {
			s.Fatalf("it gives up: %v", last)
		}
	}
	s.Fatalf("it does not converge: %v", last)
}

// TestFaults: every request of every kind's life is meddled with in every way.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ kind, spec, change string }{
		{Mount, `{"config":{"default_lease_ttl":"1h"},"description":"x","options":{},"type":"transit"}`, `{"config":{"default_lease_ttl":"2h"},"description":"y","options":{},"type":"transit"}`},
		{Auth, `{"config":{},"description":"x","options":{},"type":"approle"}`, `{"config":{"default_lease_ttl":"2h"},"description":"y","options":{},"type":"approle"}`},
		{Policy, `{"policy":"path \"a\" { capabilities = [\"read\"] }"}`, `{"policy":"path \"b\" { capabilities = [\"read\"] }"}`},
		{PasswordPolicy, `{"policy":"length = 20\nrule \"charset\" { charset = \"abcdef\" }"}`, `{"policy":"length = 30\nrule \"charset\" { charset = \"abcdef\" }"}`},
		{Role, `{"fields":{"token_ttl":"1h"},"mount":"auth/userpass","secrets":{"password":"of-the-faults"}}`, `{"fields":{"token_ttl":"2h"},"mount":"auth/userpass","secrets":{"password":"of-the-faults"}}`},
		{Role, `{"fields":{"deletion_allowed":true,"type":"aes256-gcm96"},"mount":"transit","secrets":{}}`, `{"fields":{"auto_rotate_period":"24h","deletion_allowed":true,"type":"aes256-gcm96"},"mount":"transit","secrets":{}}`},
		{Config, `{"fields":{"token_ttl":"1h"},"path":"auth/userpass/users/one","secrets":{"password":"of-the-faults"}}`, `{"fields":{"token_ttl":"2h"},"path":"auth/userpass/users/one","secrets":{"password":"of-the-faults"}}`},
	} {
		for fault, name := range faults {
			t.Run(c.kind+" "+name, func(t *testing.T) {
				s := newServer(t)
				s.put("sys/auth/userpass", map[string]any{"type": "userpass"})
				s.put("sys/mounts/transit", map[string]any{"type": "transit"})
				for n := range 4 {
					s.life(c.kind, c.spec, c.change, fault, n)
				}
			})
		}
	}
}

// life is that of one thing, with a fault at the nth request of each of its
// stretches.
func (s *server) life(kind, spec, change string, fault enginetest.Fault, n int) {
	s.Helper()
	nth := func() {
		left := n
		s.once(fault, func(*http.Request) bool { left--; return left < 0 })
		s.proxy.Requests()
	}
	r := drivertest.NewResource(s, s.driver(), kind, "thing", wanted(spec))
	writes := 0
	nth()
	s.stubborn(r)
	for request, count := range s.proxy.Requests() {
		if !strings.HasPrefix(request, "GET ") {
			writes += count
		}
	}
	told := !strings.Contains(spec, "of-the-faults") // Vault tells no secret: whether it has arrived nobody knows
	most := 1
	if strings.Contains(spec, "deletion_allowed") {
		most = 2 // a key of transit and how it is set up
	}
	if fault == enginetest.Lost && told && writes > most {
		s.Errorf("%s: %d writes for one create whose answer was lost", kind, writes)
	}
	w := wanted(change)
	r.Item.Want = &w
	nth()
	s.stubborn(r)
	r.Item.Want = nil
	nth()
	s.stubborn(r)
}

// TestRestart: a Vault that is gone is out of reach, and not empty; when it is
// back nothing is left to do.
func TestRestart(t *testing.T) {
	v := enginetest.NewVault(t)
	token := schema.NewSecret(v.Token)
	d := &Driver{Env: env, URL: v.Address, Token: func() (schema.Secret, error) { return token, nil }, Fingerprint: drivertest.Fingerprint}
	all := []*drivertest.Resource{
		drivertest.NewResource(t, d, Mount, "secret", wanted(`{"config":{},"options":{"version":"2"},"type":"kv"}`)),
		drivertest.NewResource(t, d, PasswordPolicy, "letters", wanted(`{"policy":"length = 20\nrule \"charset\" { charset = \"abcdef\" }"}`)),
		drivertest.NewResource(t, d, KV, "web", generated(1, "")),
	}
	for _, r := range all {
		r.Settle(schema.Create)
	}
	v.Kill(t)
	for _, r := range all {
		if _, err := d.Observe(t.Context(), []drivers.Item{r.Item}); !errors.Is(err, drivers.ErrUnreachable) {
			t.Errorf("%s: %v", r.Item.ID, err)
		}
	}
	v.Start(t)
	for _, r := range all {
		if c := r.Plan(); c.Action != schema.None {
			t.Errorf("%s is planned as %s %+v", r.Item.ID, c.Action, c.Diff)
		}
	}
}

// nowhere fails the test where a text holds a plaintext, in any encoding.
func nowhere(t *testing.T, said, plain string) {
	t.Helper()
	for _, form := range driverkit.Forms(plain) {
		if strings.Contains(said, form) {
			t.Errorf("a plaintext is in %q", strings.ReplaceAll(said, form, "PLAINTEXT"))
		}
	}
}
