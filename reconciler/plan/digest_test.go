package plan_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// whole is a change with everything that a change can have.
func whole() drivers.Change {
	return drivers.Change{
		ID: schema.ID{Kind: "memory.thing", Name: "web", Target: "eu"}, Handle: "memory.thing/web", Action: schema.Replace,
		Before: json.RawMessage(`{"size": 1, "class": "a"}`),
		Diff: []drivers.Delta{
			delta("/class", schema.Replace, `"a"`, `"b"`),
			delta("/password", schema.Update, `"[secret:1]"`, `"[secret:2]"`),
			unknown("/value", schema.Update, "1", `"@{memory.thing/n.id}"`),
		},
		Outputs: map[string]drivers.Output{"id": {Value: json.RawMessage(`"web"`)}}, Why: "class cannot change in place",
	}
}

func digest(c drivers.Change) string { return plan.Mask("env-1", "engine-1", c).Digest() }

// TestDigestGolden: old approvals stop holding when these values move, so
// moving them takes a new digestFormat and an entry in the changelog.
func TestDigestGolden(t *testing.T) {
	deletion := whole()
	deletion.Action, deletion.Diff = schema.Delete, nil
	for _, c := range []struct {
		name, got, want string
	}{
		{"replace", digest(whole()), "1fcfb5dc5c3da4ef14c9335511f12c05b1749d0df2403919a0f64d043f87d98b"},
		{"delete", digest(deletion), "a7d654115f56fa34d38259d1fc26a866394fd5c7bb2b45bed18b8d4299818610"},
		{"a plan", plan.Digest([]string{digest(whole()), digest(deletion)}), "8a867bd425c599627b3fb8972eff46ce662756497994f9c857f1451b1c09c3de"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

func TestDigestHolds(t *testing.T) {
	first := digest(whole())
	for name, alter := range map[string]func(*drivers.Change){
		"kind":              func(c *drivers.Change) { c.ID.Kind = "memory.given" },
		"name":              func(c *drivers.Change) { c.ID.Name = "web2" },
		"target's name":     func(c *drivers.Change) { c.ID.Target = "us" },
		"handle":            func(c *drivers.Change) { c.Handle += "2" },
		"action":            func(c *drivers.Change) { c.Action = schema.Update },
		"before":            func(c *drivers.Change) { c.Before = json.RawMessage(`{"size":1}`) },
		"a field less":      func(c *drivers.Change) { c.Diff = c.Diff[1:] },
		"a field's path":    func(c *drivers.Change) { c.Diff[0].Path = "/clas" },
		"a field's op":      func(c *drivers.Change) { c.Diff[0].Op = schema.Update },
		"a field's before":  func(c *drivers.Change) { c.Diff[0].Before = json.RawMessage(`"c"`) },
		"a field's after":   func(c *drivers.Change) { c.Diff[0].After = json.RawMessage(`"c"`) },
		"a secret's token":  func(c *drivers.Change) { c.Diff[1].After = json.RawMessage(`"[secret:3]"`) },
		"an unknown's text": func(c *drivers.Change) { c.Diff[2].After = json.RawMessage(`"@{memory.thing/n.size}"`) },
		"known":             func(c *drivers.Change) { c.Diff[2].Unknown = false },
		"a number's digits": func(c *drivers.Change) { c.Diff[2].Before = json.RawMessage(`1.0`) },
	} {
		c := whole()
		c.Diff = slices.Clone(c.Diff)
		alter(&c)
		if digest(c) == first {
			t.Errorf("%s: another, and the digest is the same", name)
		}
	}
	if plan.Mask("env-2", "engine-1", whole()).Digest() == first || plan.Mask("env-1", "engine-2", whole()).Digest() == first {
		t.Error("another environment or engine, and the digest is the same")
	}
}

func TestDigestIgnores(t *testing.T) {
	first := digest(whole())
	for name, alter := range map[string]func(*drivers.Change){
		"why":             func(c *drivers.Change) { c.Why = "because" },
		"outputs":         func(c *drivers.Change) { c.Outputs = nil },
		"secrets":         func(c *drivers.Change) { c.Secrets = map[schema.Path]schema.Secret{"/password": schema.NewSecret("x")} },
		"nonce":           func(c *drivers.Change) { c.Nonce = "n" },
		"opaque":          func(c *drivers.Change) { c.Opaque = 1 },
		"order of deltas": func(c *drivers.Change) { slices.Reverse(c.Diff) },
		"how it is written": func(c *drivers.Change) {
			c.Before = json.RawMessage("{\"class\":\"\\u0061\",\n\t\"size\":1}")
			c.Diff[0].After = json.RawMessage(` "\u0062" `)
		},
	} {
		c := whole()
		c.Diff = slices.Clone(c.Diff)
		alter(&c)
		if digest(c) != first {
			t.Errorf("%s: the digest is another", name)
		}
	}
	update, other := whole(), whole()
	update.Action, other.Action = schema.Update, schema.Update
	other.Before = json.RawMessage(`{"size":9}`)
	if digest(update) != digest(other) {
		t.Error("what lives is in the digest of an update")
	}
}

func TestMaskHoldsNoSecret(t *testing.T) {
	c := whole()
	c.Secrets, c.Opaque = map[schema.Path]schema.Secret{"/password": schema.NewSecret("canary-7f3a91")}, "canary-7f3a91"
	raw, err := json.Marshal(plan.Mask("env-1", "engine-1", c))
	if err != nil || strings.Contains(string(raw), "canary") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestPlanDigest(t *testing.T) {
	if plan.Digest(nil) != "" {
		t.Error("nothing has a digest")
	}
	given := []string{"b", "a"}
	if plan.Digest(given) != plan.Digest([]string{"a", "b"}) || given[0] != "b" {
		t.Error("the order of changes is in it, or the argument was sorted")
	}
	seen := map[string]bool{}
	for _, changes := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"ab"}, {"a", "a"}} {
		d := plan.Digest(changes)
		if len(d) != 64 || seen[d] {
			t.Errorf("%v: %s", changes, d)
		}
		seen[d] = true
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `null`: `null`, ` { "b" : [ 1 , 2 ], "a" : {} } `: `{"a":{},"b":[1,2]}`, `1.0`: `1.0`, `12345678901234567890.12`: `12345678901234567890.12`,
		`1e400`: `1e400`, `"\u003c&>"`: `"<&>"`, `"é"`: `"é"`, `{"b":1,"a":{"d":1,"c":2}}`: `{"a":{"c":2,"d":1},"b":1}`,
		`{`: `"{"`, `no json`: `"no json"`, `1 2`: `"1 2"`, `{} trailing`: `"{} trailing"`,
	} {
		if got := string(plan.Canonical(json.RawMessage(in))); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

// FuzzCanonical: whatever comes in, JSON comes out, always the same, and what
// was JSON means the same.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{``, `{`, `{"b":1,"a":[true,null,"x"]}`, `1e999`, `"\ud800"`, `"a"`, `"~\/"`, ` "a" `, `"`, "\xff", `{"a":1,"a":2}`, "\"\u2028<&>\"", `1 2`, `-0`, `[[[[]]]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := plan.Canonical(in)
		switch {
		case len(in) == 0 && out == nil:
			return
		case !json.Valid(out):
			t.Fatalf("%q becomes %q, which is no JSON", in, out)
		case !bytes.Equal(plan.Canonical(out), out):
			t.Fatalf("%q becomes %q, and that %q", in, out, plan.Canonical(out))
		}
		if json.Valid(in) {
			a, b := value(t, in), value(t, out)
			if a != b {
				t.Fatalf("%q means %s, and %q means %s", in, a, out, b)
			}
			within := plan.Canonical(slices.Concat([]byte("["), in, []byte("]")))
			if want := slices.Concat([]byte("["), out, []byte("]")); !bytes.Equal(within, want) {
				t.Fatalf("%q becomes %q by itself, and %q within a list", in, out, within)
			}
		}
	})
}

// value is what JSON means, with map keys sorted by fmt.
func value(t *testing.T, raw []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
