package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// delta is a field's difference; an empty side is absent.
func delta(path schema.Path, op schema.Action, before, after string) drivers.Delta {
	d := drivers.Delta{Path: path, Op: op}
	if before != "" {
		d.Before = json.RawMessage(before)
	}
	if after != "" {
		d.After = json.RawMessage(after)
	}
	return d
}

func unknown(path schema.Path, op schema.Action, before, text string) drivers.Delta {
	d := delta(path, op, before, text)
	d.Unknown = true
	return d
}

// masked is a change of action with a diff.
func masked(a schema.Action, diff ...drivers.Delta) plan.Masked {
	return plan.Mask("env-1", "engine-1", drivers.Change{
		ID: schema.ID{Kind: "memory.thing", Name: "web", Target: "eu"}, Handle: "memory.thing/web", Action: a,
		Before: json.RawMessage(`{"size":1}`), Diff: diff,
	})
}

func with(m plan.Masked, alter func(*plan.Masked)) plan.Masked {
	alter(&m)
	return m
}

// What was not known is approved as what was declared: a literal in the place of
// the reference was not, and is said to be something else.
func TestCoversWhatWasDeclared(t *testing.T) {
	of := func(declared string) func(*plan.Masked) {
		r := &schema.Resource{Spec: json.RawMessage(declared)}
		return func(m *plan.Masked) { m.Declared = plan.Declared(r) }
	}
	ref, evil := of(`{"value":"@{x/y.z}"}`), of(`{"value":"evil"}`)
	then := with(masked(schema.Create, unknown("/value", schema.Create, "", `"@{x/y.z}"`)), ref)
	known := masked(schema.Create, delta("/value", schema.Create, "", `"evil"`))
	if now := with(known, ref); !plan.Covers(then, now) {
		t.Error("what the reference answered is not covered")
	}
	now := with(known, evil)
	if plan.Covers(then, now) {
		t.Error("a literal in the place of a reference is covered")
	}
	if d := plan.Between(then, now); len(d) != 1 || d[0].What != "declaration" {
		t.Errorf("%+v", d)
	}
	if known := with(known, evil); known.Digest() != masked(schema.Create, delta("/value", schema.Create, "", `"evil"`)).Digest() {
		t.Error("it is part of the digest")
	}
	if !plan.Covers(with(known, ref), now) {
		t.Error("what was known is covered however it was declared")
	}
}

func TestCovers(t *testing.T) {
	const create, update, remove, replace = schema.Create, schema.Update, schema.Delete, schema.Replace
	size := delta("/size", update, "1", "2")
	class := delta("/class", replace, `"a"`, `"b"`)
	later := unknown("/value", update, `{"a":1,"b":2}`, `"@{x/y.z}"`)
	for _, c := range []struct {
		name      string
		then, now plan.Masked
		want      bool
	}{
		{"the same", masked(update, size), masked(update, size), true},
		{"milder: replace became update", masked(replace, size, class), masked(update, size, delta("/class", update, `"a"`, `"b"`)), true},
		{"milder: adopt became update", masked(schema.Adopt, size), masked(update, size), true},
		{"milder: nothing is left to do", masked(update, size), masked(schema.None), true},
		{"milder: it is gone already", masked(remove), masked(schema.None), true},
		{"worse: update became replace", masked(update, size), masked(replace, size), false},
		{"worse: replace became delete", masked(replace, size), masked(remove, size), false},
		{"worse: nothing became update", masked(schema.None), masked(update, size), false},
		{"other: create became update", masked(create, size), masked(update, size), false},
		{"other: create became adopt", masked(create, size), masked(schema.Adopt, size), false},
		{"a field more", masked(update, size), masked(update, size, delta("/count", update, "1", "2")), false},
		{"a field less: live moved", masked(update, size, delta("/count", update, "1", "2")), masked(update, size), false},
		{"a known field has another value", masked(update, size), masked(update, delta("/size", update, "1", "3")), false},
		{"a known field is to be removed", masked(update, size), masked(update, delta("/size", remove, "1", "")), false},
		{"a known field lives otherwise", masked(update, size), masked(update, delta("/size", update, "0", "2")), false},
		{"a field's reason became milder", masked(replace, class), masked(replace, delta("/class", update, `"a"`, `"b"`)), true},
		{"a field's reason became worse", masked(replace, delta("/class", update, `"a"`, `"b"`)), masked(replace, class), false},
		{"the same field, written otherwise", masked(update, delta("/v", update, `{"a":1,"b":2}`, "1.0")), masked(update, delta("/v", update, "{ \"b\":2,\n\"a\":1 }", "1.0")), true},

		{"unknown stays unknown", masked(update, later), masked(update, later), true},
		{"unknown is filled in", masked(update, size, later), masked(update, size, delta("/value", update, `{"a":1,"b":2}`, "7")), true},
		{"unknown is filled in with what lives", masked(update, size, later), masked(update, size), true},
		{"unknown is filled in below", masked(update, later), masked(update, delta("/value/a", update, "1", "7"), delta("/value/b", remove, "2", ""), delta("/value/c", create, "", "0")), true},
		{"below, but live moved", masked(update, later), masked(update, delta("/value/a", update, "5", "7")), false},
		{"below, but live has less", masked(update, later), masked(update, delta("/value/a", create, "", "7")), false},
		{"below, but live has more", masked(update, later), masked(update, delta("/value/c", update, "3", "7")), false},
		{"beside, not below", masked(update, later), masked(update, later, delta("/values", update, "1", "2")), false},
		{"filled in above what was shown", masked(update, unknown("/v/a", update, "1", `"@{x/y.z}"`)), masked(update, delta("/v", update, `{"a":1}`, `{"a":2}`)), false},
		{"filled in, but live moved", masked(update, later), masked(update, delta("/value", update, "8", "7")), false},
		{"filled in, and something more", masked(update, later), masked(update, delta("/value", update, `{"a":1,"b":2}`, "7"), size), false},
		{"filled in, and it is milder", masked(replace, class, later), masked(update, delta("/class", update, `"a"`, `"b"`), delta("/value", update, `{"a":1,"b":2}`, "7")), true},
		{"filled in, and it must be made anew", masked(update, unknown("/class", update, `"a"`, `"@{x/y.z}"`)), masked(replace, class), false},
		{"unknown by another reference", masked(update, later), masked(update, unknown("/value", update, `{"a":1,"b":2}`, `"@{x/y.other}"`)), false},
		{"known became unknown", masked(update, size), masked(update, unknown("/size", update, "1", "2")), false},

		{"deferred is never covered, by itself", masked(schema.Deferred, size), masked(schema.Deferred, size), false},
		{"nor by what it was before", masked(schema.Deferred, size), masked(update, size), false},
		{"nor afterwards", masked(update, size), masked(schema.Deferred, size), false},
		{"nor by nothing", masked(schema.Deferred), masked(schema.None), false},

		{"delete", masked(remove), masked(remove), true},
		{"delete of what has moved", masked(remove), with(masked(remove), func(m *plan.Masked) { m.Before = json.RawMessage(`{"size":2}`) }), false},
		{"replace of what has moved", masked(replace, class), with(masked(replace, class), func(m *plan.Masked) { m.Before = json.RawMessage(`{"size":2}`) }), false},
		{"replace, filled in, of what has moved", masked(replace, class, later),
			with(masked(replace, class, delta("/value", update, `{"a":1,"b":2}`, "7")), func(m *plan.Masked) { m.Before = json.RawMessage(`{"size":2}`) }), false},
		{"another environment", masked(update, size), with(masked(update, size), func(m *plan.Masked) { m.Environment = "env-2" }), false},
		{"another engine behind the same name", masked(update, size), with(masked(update, size), func(m *plan.Masked) { m.Target = "engine-2" }), false},
		{"another address", masked(update, size), with(masked(update, size), func(m *plan.Masked) { m.Handle = "memory.thing/other" }), false},
		{"another target's name", masked(update, size), with(masked(update, size), func(m *plan.Masked) { m.ID.Target = "us" }), false},
		{"another name", masked(update, size), with(masked(update, size), func(m *plan.Masked) { m.ID.Name = "other" }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := plan.Covers(c.then, c.now); got != c.want {
				t.Errorf("covers: %t", got)
			}
			if got := plan.Covers(stored(t, c.then), c.now); got != c.want {
				t.Errorf("covers, once the approval has been stored and loaded: %t", got)
			}
		})
	}
}

// stored is an approved change as it comes back from the disk.
func stored(t *testing.T, m plan.Masked) plan.Masked {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var back plan.Masked
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// TestCoversStored: what JSON escapes on the disk is no difference.
func TestCoversStored(t *testing.T) {
	html := delta("/html", schema.Update, `"<a href=\"x?y&z\">"`, `"<b>\u2028"`)
	for _, a := range []schema.Action{schema.Update, schema.Replace} {
		then := masked(a, html, unknown("/size", schema.Update, "1", `"@{x/y.z}"`))
		then.Before = plan.Canonical(json.RawMessage(`{"html":"<&>"}`))
		now := masked(a, html, delta("/size", schema.Update, "1", "2"))
		now.Before = then.Before
		if !plan.Covers(then, now) || !plan.Covers(stored(t, then), now) {
			t.Errorf("%s: fresh %t, stored %t", a, plan.Covers(then, now), plan.Covers(stored(t, then), now))
		}
	}
}

// randomChange draws from few values, so that two often meet.
func randomChange(rng *rand.Rand) plan.Masked {
	pick := func(s ...string) string { return s[rng.IntN(len(s))] }
	actions := []schema.Action{schema.None, schema.Create, schema.Update, schema.Replace, schema.Delete, schema.Adopt, schema.Deferred}
	var diff []drivers.Delta
	for _, p := range []schema.Path{"/a", "/a/b", "/c"} {
		if rng.IntN(2) == 0 {
			op := actions[1+rng.IntN(4)]
			diff = append(diff, drivers.Delta{Path: p, Op: op, Unknown: rng.IntN(3) == 0, Before: json.RawMessage(pick("1", `{"b":1}`)), After: json.RawMessage(pick("2", `"@{x/y.z}"`))})
		}
	}
	return masked(actions[rng.IntN(len(actions))], diff...)
}

// TestCoversProperties: of anything, an approval covers the change that it was
// given for, unless that was deferred; nothing covers what is worse; and what
// is covered twice over is covered.
func TestCoversProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	covered, chains := 0, 0
	for i := range 10_000 {
		x, y, z := randomChange(rng), randomChange(rng), randomChange(rng)
		show := func() string { return fmt.Sprintf("%d: %+v\n%+v\n%+v", i, x, y, z) }
		if plan.Covers(x, x) == (x.Action == schema.Deferred) {
			t.Fatalf("itself: %s", show())
		}
		if !plan.Covers(x, y) {
			continue
		}
		covered++
		if x.Action != y.Action && !y.Action.Milder(x.Action) || y.Action.Destroys() && !x.Action.Destroys() {
			t.Fatalf("worse is covered: %s", show())
		}
		if plan.Covers(y, z) {
			chains++
			if !plan.Covers(x, z) {
				t.Fatalf("covered twice over, and not covered: %s", show())
			}
		}
	}
	if covered < 100 || chains < 5 {
		t.Errorf("only %d pairs and %d chains were covered: this proves little", covered, chains)
	}
}
