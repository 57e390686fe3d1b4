//go:build e2e

package vault

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

func withLetters(t *testing.T) *server {
	s := newServer(t)
	s.put("sys/policies/password/letters", map[string]any{"policy": "length = 24\nrule \"charset\" { charset = \"abcdefghijklmnopqrstuvwxyz\" }"})
	return s
}

func generated(generation int, more string) drivers.Desired {
	return wanted(fmt.Sprintf(`{"generation":%d,"mount":"secret","values":{"password":{"generate":"letters"}%s}}`, generation, more))
}

// value is the plaintext of the newest version.
func (s *server) value(path, key string) string {
	s.Helper()
	data, _ := s.do(http.MethodGet, "secret/data/"+path, nil)["data"].(map[string]any)
	return text(data[key])
}

func (s *server) current(path string) int {
	s.Helper()
	return number(scalar(s.do(http.MethodGet, "secret/metadata/"+path, nil)["current_version"]))
}

// TestKVLife: what is generated stays until it is to be made anew, whatever
// else is changed, and whatever a foreign hand does to it.
func TestKVLife(t *testing.T) {
	s := withLetters(t)
	r := drivertest.NewResource(t, s.driver(), KV, "web", generated(1, ""))
	r.Settle(schema.Create)
	first := s.value("web", "password")
	if len(first) != 24 {
		t.Fatalf("a value of %d characters was generated, want 24", len(first))
	}
	steps := []struct {
		name   string
		before func()
		action schema.Action
		kept   bool
	}{
		{"a key more", func() { w := generated(1, `,"user":{"value":"web"}`); r.Item.Want = &w }, schema.Update, true},
		{"a foreign version", func() { s.put("secret/data/web", map[string]any{"data": map[string]any{"password": "theirs"}}) }, schema.Update, true},
		{"two foreign versions", func() {
			s.put("secret/data/web", map[string]any{"data": map[string]any{"a": "b"}})
			s.put("secret/data/web", map[string]any{"data": map[string]any{"a": "c"}})
		}, schema.Update, true},
		{"deleted", func() { s.do(http.MethodDelete, "secret/data/web", nil) }, schema.Update, true},
		{"deleted, then written", func() {
			s.do(http.MethodDelete, "secret/data/web", nil)
			s.put("secret/data/web", map[string]any{"data": map[string]any{"a": "d"}})
		}, schema.Update, true},
		{"written, and without metadata", func() {
			s.put("secret/data/web", map[string]any{"data": map[string]any{"a": "d"}})
			s.put("secret/metadata/web", map[string]any{"custom_metadata": map[string]any{}})
		}, schema.Update, true},
		{"a new generation", func() { w := generated(2, `,"user":{"value":"web"}`); r.Item.Want = &w }, schema.Update, false},
		{"destroyed", func() {
			s.put("secret/destroy/web", map[string]any{"versions": []int{s.current("web")}})
		}, schema.Update, false},
		{"all of it deleted", func() { s.do(http.MethodDelete, "secret/metadata/web", nil) }, schema.Create, false},
	}
	for _, step := range steps {
		before := s.value("web", "password")
		step.before()
		r.Driver = s.driver()
		r.Settle(step.action)
		if after := s.value("web", "password"); (after == before) != step.kept || len(after) != 24 {
			t.Fatalf("%s: kept is %t, want %t", step.name, after == before, step.kept)
		}
	}
	if got := s.value("web", "user"); got != "web" {
		t.Errorf("user is %q", got)
	}
}

// TestKVForeignMetadata: what others keep in custom_metadata stays.
func TestKVForeignMetadata(t *testing.T) {
	s := withLetters(t)
	r := drivertest.NewResource(t, s.driver(), KV, "web", generated(1, ""))
	r.Settle(schema.Create)
	custom, _ := s.do(http.MethodGet, "secret/metadata/web", nil)["custom_metadata"].(map[string]any)
	custom["owner"] = "shop"
	s.put("secret/metadata/web", map[string]any{"custom_metadata": custom, "max_versions": 4})
	w := generated(2, "")
	r.Item.Want = &w
	r.Settle(schema.Update)
	meta := s.do(http.MethodGet, "secret/metadata/web", nil)
	if custom, _ = meta["custom_metadata"].(map[string]any); custom["owner"] != "shop" || scalar(meta["max_versions"]) != "4" {
		t.Errorf("the metadata became %v", meta)
	}
}

// TestKVAdopts: what lives already keeps the values that would be generated.
func TestKVAdopts(t *testing.T) {
	s := withLetters(t)
	s.put("secret/data/web", map[string]any{"data": map[string]any{"password": "long in use", "other": "x"}})
	r := drivertest.NewResource(t, s.driver(), KV, "web", generated(1, ""))
	r.Settle(schema.Adopt)
	if got := s.value("web", "password"); got != "long in use" {
		t.Errorf("after the adoption the password is another")
	}
}

// TestKVReveals exactly the version that a fingerprint names.
func TestKVReveals(t *testing.T) {
	s := withLetters(t)
	d := s.driver()
	r := drivertest.NewResource(t, d, KV, "web", generated(1, ""))
	first := r.Settle(schema.Create).Outputs["password"].Fingerprint
	old := s.value("web", "password")
	w := generated(2, "")
	r.Item.Want = &w
	second := r.Settle(schema.Update).Outputs["password"].Fingerprint
	for fingerprint, want := range map[string]string{first: old, second: s.value("web", "password")} {
		got, err := d.Reveal(t.Context(), r.Item, "password", fingerprint)
		if err != nil || got.Reveal() != want {
			t.Errorf("%s: %v", fingerprint, err)
		}
	}
	s.put("secret/destroy/web", map[string]any{"versions": []int{1}})
	if _, err := d.Reveal(t.Context(), r.Item, "password", first); !errors.Is(err, drivers.ErrStale) {
		t.Errorf("a version that is destroyed is revealed: %v", err)
	}
}

// TestKVNotVersionTwo: words that mean something in version 2 would be secrets
// in version 1.
func TestKVNotVersionTwo(t *testing.T) {
	s := withLetters(t)
	s.put("sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	for mount, class := range map[string]error{"kv": drivers.ErrPermanent, "nowhere": drivers.ErrRetryable} {
		r := drivertest.NewResource(t, s.driver(), KV, "web", wanted(`{"generation":1,"mount":"`+mount+`","values":{"a":{"value":"b"}}}`))
		if _, err := r.Apply(r.Plan()); drivers.Class(err) != class {
			t.Errorf("%s: %v", mount, err)
		}
	}
}

// TestKVCrashes: one request of a life is meddled with in every way, the daemon
// dies, and starting again ends with the value written once.
func TestKVCrashes(t *testing.T) {
	for fault, name := range faults {
		for _, at := range []string{"/v1/sys/policies/password/letters/generate", "/v1/secret/metadata/web", "/v1/secret/data/web"} {
			t.Run(name+" "+at, func(t *testing.T) {
				s := withLetters(t)
				r := drivertest.NewResource(t, s.driver(), KV, "web", generated(1, ""))
				s.once(fault, func(q *http.Request) bool {
					return q.URL.Path == at && (q.Method != http.MethodGet || strings.HasSuffix(at, "generate"))
				})
				s.stubborn(r)
				if n := s.current("web"); n != 1 {
					t.Errorf("it was written %d times", n)
				}
				value := s.value("web", "password")
				w := generated(1, `,"user":{"value":"web"}`)
				r.Item.Want = &w
				s.once(fault, func(q *http.Request) bool { return q.URL.Path == at && q.Method != http.MethodGet })
				s.stubborn(r)
				if n := s.current("web"); n != 2 || s.value("web", "password") != value || s.value("web", "user") != "web" {
					t.Errorf("after a change it has %d versions, and the value is kept: %t", n, s.value("web", "password") == value)
				}
			})
		}
	}
}

// TestKVOvertaken: somebody writes the very version that the metadata call
// ours already.
func TestKVOvertaken(t *testing.T) {
	s := withLetters(t)
	r := drivertest.NewResource(t, s.driver(), KV, "web", generated(1, ""))
	r.Settle(schema.Create)
	mine := s.value("web", "password")
	w := generated(1, `,"user":{"value":"web"}`)
	r.Item.Want = &w
	met := false
	s.proxy.Meddle(func(q *http.Request) enginetest.Fault {
		if q.Method == http.MethodPost && q.URL.Path == "/v1/secret/data/web" && !met {
			met = true
			s.put("secret/data/web", map[string]any{"data": map[string]any{"password": "theirs"}})
		}
		return enginetest.Pass
	})
	if _, err := r.Apply(r.Plan()); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("overtaken, it answers %v", err)
	}
	r.Settle(schema.Update)
	if s.value("web", "password") != mine || s.value("web", "user") != "web" {
		t.Error("what somebody wrote in between is taken for ours")
	}
}

// TestKVAge: a ciphertext is decrypted on its way to Vault, and its plaintext
// is in nothing else.
func TestKVAge(t *testing.T) {
	s := withLetters(t)
	const canary = `c4n4ry-of-age "k&y" <a/b+c>=é%`
	id, err := age.GenerateX25519Identity()
	drivertest.Must(t, err)
	d := s.driver()
	d.AgeKey = func() (schema.Secret, error) { return schema.NewSecret("# a key\n" + id.String() + "\n"), nil }
	spec := func(id *age.X25519Identity) drivers.Desired {
		return drivers.Desired{Spec: drivertest.JSON(t, map[string]any{"generation": 1, "mount": "secret", "values": map[string]any{"token": map[string]any{"age": seal(t, id, canary)}}})}
	}
	r := drivertest.NewResource(t, d, KV, "web", spec(id))
	drivertest.Must(t, d.Check(KV, "web", *r.Item.Want))
	c := r.Plan()
	state, err := r.Apply(c)
	drivertest.Must(t, err)
	if got := s.value("web", "token"); got != canary {
		t.Fatal("Vault holds another value than was encrypted")
	}
	other, err := age.GenerateX25519Identity()
	drivertest.Must(t, err)
	w := spec(other)
	r.Item.Want = &w
	_, wrong := r.Apply(r.Plan())
	d.AgeKey = func() (schema.Secret, error) { return schema.NewSecret(canary), nil }
	_, noKey := r.Apply(r.Plan())
	d.AgeKey = nil
	_, none := r.Apply(r.Plan())
	if !errors.Is(wrong, drivers.ErrPermanent) || !errors.Is(noKey, drivers.ErrDenied) || !errors.Is(none, drivers.ErrDenied) {
		t.Errorf("%v; %v; %v", wrong, noKey, none)
	}
	c.Opaque, state.Raw = nil, nil
	for _, said := range []any{c, state, wrong, noKey, none, s.log.String()} {
		nowhere(t, fmt.Sprintf("%v %+v", said, said), canary)
	}
}

func seal(t *testing.T, id *age.X25519Identity, plain string) string {
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, id.Recipient())
	drivertest.Must(t, err)
	_, err = w.Write([]byte(plain))
	drivertest.Must(t, errors.Join(err, w.Close(), a.Close()))
	return out.String()
}
