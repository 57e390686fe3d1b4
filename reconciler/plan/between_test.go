package plan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

func said(all []plan.Difference) string {
	var out []string
	for _, d := range all {
		out = append(out, fmt.Sprintf("%s %s: %s; %s", d.What, string(d.Path), d.Then, d.Now))
	}
	return strings.Join(out, "\n")
}

// Between says what is otherwise than was approved, field by field.
func TestBetween(t *testing.T) {
	const create, update, remove, replace = schema.Create, schema.Update, schema.Delete, schema.Replace
	size := delta("/size", update, "1", "2")
	lives := func(m plan.Masked, before string) plan.Masked {
		return with(m, func(m *plan.Masked) { m.Before = json.RawMessage(before) })
	}
	secret := func(print string) string { return `"` + schema.Token(print) + `"` }
	for _, c := range []struct {
		name      string
		then, now plan.Masked
		want      string
	}{
		{"the same", masked(update, size), masked(update, size), ""},
		{"milder", masked(replace, size), masked(update, size), ""},
		{"another value", masked(update, size), masked(update, delta("/size", update, "1", "3")), "field /size: 1 → 2; 1 → 3"},
		{"live moved", masked(update, size), masked(update, delta("/size", update, "0", "2")), "field /size: 1 → 2; 0 → 2"},
		{"a field more, and a field less", masked(update, size, delta("/b", create, "", `"x"`)), masked(update, delta("/a", remove, "7", ""), size),
			"field /a: not changed; - 7\nfield /b: + x; not changed"},
		{"worse", masked(update, size), masked(replace, delta("/size", replace, "1", "2")), "action : update; replace\nfield /size: 1 → 2; 1 → 2, made anew"},
		{"what was unknown may be filled in", masked(update, unknown("/v", update, "1", `"@{x/y.z}"`), size), masked(update, delta("/v", update, "1", "9"), delta("/size", update, "1", "3")),
			"field /size: 1 → 2; 1 → 3"},
		{"not known any more", masked(update, size), masked(update, unknown("/size", update, "1", `"@{x/y.z}"`)), "field /size: 1 → 2; 1 → known after apply"},
		{"another secret", masked(update, delta("/s", update, secret("a"), secret("b"))), masked(update, delta("/s", update, secret("a"), secret("c"))),
			"field /s: [redacted] → [redacted]; [redacted] → [redacted] (another one)"},
		{"what goes is another", lives(masked(remove), `{"size":1,"in":{"a":1},"s":`+secret("a")+`}`), lives(masked(remove), `{"size":2,"in":{"b":[1]},"s":`+secret("b")+`}`),
			"before /in/a: 1; nothing\nbefore /in/b: nothing; [1]\nbefore /s: [redacted]; [redacted] (another one)\nbefore /size: 1; 2"},
		{"elsewhere", masked(update, size), with(masked(update, size), func(m *plan.Masked) { m.Handle, m.Target = "b", "engine-2" }),
			"address : memory.thing/web; b\ntarget : engine-1; engine-2"},
		{"deferred", masked(update, size), masked(schema.Deferred, size), "action : update; deferred"},
		{"deferred again", masked(schema.Deferred, size), masked(schema.Deferred, size), "change : deferred; deferred"},
	} {
		if got := said(plan.Between(c.then, c.now)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// Between has nothing to say exactly of what is covered.
func TestBetweenProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	covered := 0
	for i := range 20_000 {
		x, y := randomChange(rng), randomChange(rng)
		got := plan.Between(x, y)
		if plan.Covers(x, y) != (len(got) == 0) {
			t.Fatalf("%d: %+v\n%+v\n%+v", i, x, y, got)
		}
		if len(got) == 0 {
			covered++
		}
		for _, d := range got {
			if d.What == "change" && x.Action != schema.Deferred && y.Action != schema.Deferred {
				t.Fatalf("%d: what differs is not told: %+v\n%+v", i, x, y)
			}
		}
	}
	if covered < 100 {
		t.Errorf("only %d pairs were covered: this proves little", covered)
	}
}

// FuzzBetween: whatever an approval that was read from the disk holds, Between
// agrees with Covers, and shows no token of a secret.
func FuzzBetween(f *testing.F) {
	f.Add([]byte(`{"action":"update","diff":[{"path":"/a","op":"update","before":1,"after":2}]}`), []byte(`{"action":"update","diff":[{"path":"/a","op":"update","before":1,"after":3}]}`))
	f.Add([]byte(`{"action":"delete","before":{"a":"[secret:x]"}}`), []byte(`{"action":"delete","before":{"a":"[secret:y]","b":[]}}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var then, now plan.Masked
		if json.Unmarshal(a, &then) != nil || json.Unmarshal(b, &now) != nil {
			return
		}
		then, now = again(then), again(now)
		got := plan.Between(then, now)
		if plan.Covers(then, now) != (len(got) == 0) {
			t.Fatalf("covers %t: %+v", plan.Covers(then, now), got)
		}
		for _, d := range got {
			if schema.HasToken(d.Then) || schema.HasToken(d.Now) {
				t.Fatalf("a token is shown: %+v", d)
			}
		}
	})
}

// again is a change as Mask makes it.
func again(m plan.Masked) plan.Masked {
	return plan.Mask(m.Environment, m.Target, drivers.Change{ID: m.ID, Handle: m.Handle, Action: m.Action, Diff: m.Diff, Before: m.Before})
}
