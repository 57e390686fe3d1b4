package vault

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// newRoot is the path at which a mount of pki makes a root.
const newRoot = "root/generate/internal"

// TestAddressAndCheck: where things are, and what is refused before anything is
// looked at.
func TestAddressAndCheck(t *testing.T) {
	d := &Driver{}
	for _, c := range []struct{ kind, spec, handle, finding string }{
		{Mount, `{"type":"kv"}`, "mount/web", ""},
		{Mount, `{"type":"kv","path":"a/b"}`, "mount/a/b", ""},
		{Mount, `{"type":"kv","path":"sys"}`, "", "Vault's own"},
		{Mount, `{"type":"kv","path":"identity"}`, "", "Vault's own"},
		{Mount, `{"type":"kv","path":"cubbyhole/x"}`, "", "Vault's own"},
		{Mount, `{"type":"kv","path":"auth/x"}`, "", "Vault's own"},
		{Mount, `{"type":"kv","path":"a/../b"}`, "", "no path"},
		{Mount, `{"type":"kv","path":"a b"}`, "", "no path"},
		{Mount, `{"type":"kv","path":"a/"}`, "", "no path"},
		{Auth, `{"type":"jwt"}`, "auth/web", ""},
		{Auth, `{"type":"jwt","path":"token"}`, "", "Vault's own"},
		{Policy, `{"policy":"path \"x\" {}"}`, "policy/web", ""},
		{Policy, `{"name":"Web","policy":"path \"x\" {}"}`, "", "lower case: web"},
		{Policy, `{"name":"root","policy":"path \"x\" {}"}`, "", "Vault's own"},
		{Policy, `{"policy":"  \n"}`, "", "empty"},
		{Policy, `{"policy":"# aplomb: other\npath \"x\" {}"}`, "", "ownership mark"},
		{Policy, `{"file":"web.hcl"}`, "", "not there"},
		{PasswordPolicy, `{"name":"Long","policy":"length = 20"}`, "password-policy/Long", ""},
		{KV, `{"mount":"secret","values":{"a":{"value":"b"}}}`, "kv/secret/data/web", ""},
		{KV, `{"mount":"a/b","path":"data/c","values":{"a":{"generate":"p"}}}`, "kv/a/b/data/data/c", ""},
		{KV, `{"mount":"a/data","values":{"a":{"generate":"p"}}}`, "", "named data"},
		{KV, `{"mount":"secret","values":{}}`, "", "there is none"},
		{KV, `{"mount":"secret","values":{"version":{"value":"b"}}}`, "", "is taken"},
		{KV, `{"mount":"secret","values":{"a":{"age":"plain in the wrong place"}}}`, "", "no armored age ciphertext"},
		{Role, `{"mount":"auth/jwt-nomad"}`, "path/auth/jwt-nomad/role/web", ""},
		{Role, `{"mount":"database"}`, "path/database/roles/web", ""},
		{Role, `{"mount":"pki","name":"Its.Own"}`, "path/pki/roles/Its.Own", ""},
		{Role, `{"mount":"transit"}`, "path/transit/keys/web", ""},
		{Role, `{"mount":"keys","type":"transit"}`, "path/keys/keys/web", ""},
		{Role, `{"mount":"auth/userpass"}`, "path/auth/userpass/users/web", ""},
		{Role, `{"mount":"aws","type":"aws"}`, "path/aws/roles/web", ""},
		{Role, `{"mount":"auth/aws","type":"aws"}`, "path/auth/aws/role/web", ""},
		{Role, `{"mount":"auth/token"}`, "", "Vault's own"},
		{Role, `{"mount":"identity"}`, "", "Vault's own"},
		{Config, `{"path":"auth/jwt/config"}`, "path/auth/jwt/config", ""},
		{Config, `{"path":"sys/policies/acl/x"}`, "", "Vault's own"},
		{Config, `{"path":"x/config","fields":{"a":1},"secrets":{"a":"b"}}`, "", "fields and in secrets"},
		{Config, `{"path":"pki/` + newRoot + `","fields":{"issuer_name":"one"}}`, "path/pki/" + newRoot + "/one", ""},
		{Config, `{"path":"pki/` + newRoot + `","fields":{}}`, "", "issuer_name"},
		{Config, `{"path":"pki/` + newRoot + `","fields":{"issuer_name":"@{a/b.c}"}}`, "", "issuer_name"},
		{"vault.other", `{}`, "", "no kind"},
	} {
		err := d.Check(c.kind, "web", wanted(c.spec))
		if c.finding != "" {
			if !errors.Is(err, drivers.ErrPermanent) || !strings.Contains(err.Error(), c.finding) || strings.Contains(err.Error(), "wrong place") {
				t.Errorf("%s %s: %v, want %q", c.kind, c.spec, err, c.finding)
			}
			continue
		}
		handle, addressErr := d.Address(c.kind, "web", wanted(c.spec).Spec)
		if err != nil || addressErr != nil || handle != c.handle {
			t.Errorf("%s %s: %q, want %q; %v, %v", c.kind, c.spec, handle, c.handle, addressErr, err)
		}
	}
}

// TestRoleAndConfigMeet: one path is one thing, whichever kind declares it.
func TestRoleAndConfigMeet(t *testing.T) {
	d := &Driver{}
	role, err := d.Address(Role, "web", wanted(`{"mount":"database"}`).Spec)
	config, configErr := d.Address(Config, "other", wanted(`{"path":"database/roles/web"}`).Spec)
	if err != nil || configErr != nil || role != config {
		t.Errorf("%q and %q; %v, %v", role, config, err, configErr)
	}
}

func TestNeeds(t *testing.T) {
	d := &Driver{}
	for _, c := range []struct{ kind, spec, want string }{
		{Mount, `{"type":"kv"}`, ""},
		{Policy, `{"policy":"x"}`, ""},
		{KV, `{"mount":"secret","values":{"a":{"generate":"p"},"b":{"generate":"p"}}}`, "mount/secret password-policy/p"},
		{Role, `{"mount":"auth/jwt-nomad","fields":{"token_policies":"Web, api"}}`, "auth/jwt-nomad policy/api policy/web"},
		{Role, `{"mount":"database","fields":{"db_name":"shop"}}`, "mount/database path/database/config/shop"},
		{Config, `{"path":"auth/jwt-nomad/config"}`, "auth/jwt-nomad"},
		{Config, `{"path":"database/config/shop"}`, "mount/database"},
		{Config, `{"path":"deep/pki/` + newRoot + `","fields":{"issuer_name":"x"}}`, "mount/deep/pki"},
	} {
		got := d.Needs(c.kind, "web", wanted(c.spec))
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s: %v, want %s", c.kind, c.spec, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	for description, want := range map[string][2]string{
		"": {"", ""}, "for the shop": {"for the shop", ""}, "[aplomb:e]": {"", "e"}, "for the shop [aplomb:e]": {"for the shop", "e"},
		"two\nlines [aplomb:e]": {"two\nlines", "e"}, "[aplomb:a] [aplomb:b]": {"[aplomb:a]", "b"}, "[aplomb:e] behind": {"[aplomb:e] behind", ""},
	} {
		own, owner := unmark(description)
		if own != want[0] || owner != want[1] {
			t.Errorf("%q: %q of %q", description, own, owner)
		}
		if again, env := unmark(mark(own, "env")); again != own || env != "env" {
			t.Errorf("%q, marked: %q of %q", own, again, env)
		}
	}
	own, owner := splitMark("# aplomb: e\npath {}")
	if own != "path {}" || owner != "e" {
		t.Errorf("%q of %q", own, owner)
	}
	if (policies{marks: true}).marked(wanted(`{"policy":"  {\"path\":{}}"}`).Spec) {
		t.Error("a policy written as JSON has room for a comment")
	}
}

// TestPolicyFile: a policy in a file is compared as its text.
func TestPolicyFile(t *testing.T) {
	d := &Driver{Env: "e"}
	w := drivers.Desired{Spec: wanted(`{"file":"a/web.hcl"}`).Spec, Files: schema.Tree{{Path: "a/web.hcl", Data: []byte("path \"x\" {}\n\n")}}}
	if err := d.Check(Policy, "web", w); err != nil {
		t.Fatal(err)
	}
	it := drivers.Item{ID: schema.ID{Kind: Policy, Name: "web"}, Handle: "policy/web", Want: &w}
	for live, action := range map[string]schema.Action{"# aplomb: e\npath \"x\" {}": schema.None, "# aplomb: e\npath \"y\" {}": schema.Update, "path \"x\" {}": schema.Adopt} {
		k, err := d.served(Policy)
		if err != nil {
			t.Fatal(err)
		}
		s, err := stateOf(k, it.Handle, k.(policies).found(live), w.Spec, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := d.Plan(t.Context(), it, s); err != nil || c.Action != action {
			t.Errorf("%q is planned as %s %+v, %v; want %s", live, c.Action, c.Diff, err, action)
		}
	}
}

// TestPlanNames what changes, and why it is made anew.
func TestPlanNames(t *testing.T) {
	d := &Driver{Env: "e", Fingerprint: func(b []byte) string { return string(b) }}
	plan := func(kind, live, last, want string) drivers.Change {
		f := &found{}
		mustDecode(t, live, &f.data)
		w := wanted(want)
		it := drivers.Item{ID: schema.ID{Kind: kind}, Handle: "path/transit/keys/web", Want: &w, Last: &drivers.Applied{Version: "1", Spec: wanted(last).Spec}}
		c, err := d.Plan(t.Context(), it, drivers.State{Exists: true, Handle: it.Handle, Owner: "", Raw: f})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct{ name, live, last, want, action, paths string }{
		{"a secret that did not move", `{}`, `{"secrets":{"p":"[secret:a]"}}`, `{"mount":"database","secrets":{"p":"[secret:a]"}}`, "none", ""},
		{"a secret that moved", `{}`, `{"secrets":{"p":"[secret:a]"}}`, `{"mount":"database","secrets":{"p":"[secret:b]"}}`, "update", "/secrets/p"},
		{"a secret that Vault tells", `{"p":"plain"}`, `{"secrets":{"p":"[secret:a]"}}`, `{"mount":"database","secrets":{"p":"[secret:a]"}}`, "none", ""},
		{"a field that is not told", `{}`, `{"fields":{"f":1}}`, `{"mount":"database","fields":{"f":1}}`, "none", ""},
		{"a field that was never sent", `{}`, `{}`, `{"mount":"database","fields":{"f":1}}`, "update", "/fields/f"},
		{"a key's type", `{"type":"a"}`, `{}`, `{"mount":"transit","fields":{"type":"b"}}`, "replace", "/fields/type"},
		{"a key's period", `{"auto_rotate_period":0}`, `{}`, `{"mount":"transit","fields":{"auto_rotate_period":"1h"}}`, "update", "/fields/auto_rotate_period"},
	} {
		got := plan(Role, c.live, c.last, c.want)
		var paths []string
		for _, delta := range got.Diff {
			paths = append(paths, string(delta.Path))
		}
		if string(got.Action) != c.action || strings.Join(paths, " ") != c.paths {
			t.Errorf("%s: %s of %v", c.name, got.Action, paths)
		}
	}
}
