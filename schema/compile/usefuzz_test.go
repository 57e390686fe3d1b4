package compile

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// A value of any file travels to a worker and back as what it is.
func FuzzValueTravels(f *testing.F) {
	for _, text := range []string{shop, use1, "a: [1, 2.5, null, true, \"x\\u0000\"]\n", "a: &x {b: [*x]}\n", "? [a]\n: b\n", "- - - 1\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := &builder{file: "a.yaml", limits: Limits{}.withDefaults()}
		docs, _ := b.parse(data)
		for _, d := range docs {
			wire, err := json.Marshal(d.root)
			if err != nil {
				t.Fatal(err)
			}
			var back value
			if err := json.Unmarshal(wire, &back); err != nil {
				t.Fatalf("%s: %v", wire, err)
			}
			again, err := json.Marshal(&back)
			if err != nil || string(again) != string(wire) || !reflect.DeepEqual(expression(&back), expression(d.root)) {
				t.Fatalf("%s\n%s\n%v", wire, again, err)
			}
		}
	})
}

// What arrives instead of a value is an error, and never a panic.
func FuzzValueArrives(f *testing.F) {
	f.Add([]byte(`{"k":7,"n":[{"n":"a","p":[1,2]}],"i":[{"k":5,"t":"x","p":[1,2]}],"p":[1,1]}`))
	f.Add([]byte(`{"k":7,"n":[],"i":[null]}`))
	f.Add([]byte(`{"k":9}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var v value
		if json.Unmarshal(data, &v) == nil {
			_ = v.words()
			_ = plain(&v)
		}
	})
}

// Whatever an output says, what stands for a reference to it is a reference to
// no use.
func FuzzStandsIn(f *testing.F) {
	for _, text := range []string{"x", "@{local.port/p.port}", "@{A/b.c}", "@@{A/b.c}", "a@{A/b.out}b", "@{A/a.out.x[0]}", "@{", "\x00"} {
		f.Add(text, "@{A/a.out}")
		f.Add(text, "x@{A/a.out}y@@{z}@{A/a.out}")
	}
	f.Fuzz(func(t *testing.T, out, text string) {
		if _, err := schema.ParseText(out); err != nil {
			return // refused where the template is unfolded
		}
		if _, err := schema.ParseText(text); err != nil {
			return // refused where the file is read
		}
		raw, err := sortedJSON(out)
		if err != nil {
			t.Fatal(err)
		}
		r := schema.Resource{ID: schema.ID{Kind: "local.process", Name: "p"}, Spec: []byte(`{"argv":["x"]}`), Refs: []schema.FieldRef{{Path: "/argv/0", Text: text}}}
		a := fileResult{Unfolded: &unfolded{Use: schema.Use{Template: "A", Name: "a"}, Outputs: map[string]json.RawMessage{"out": raw}}}
		if all := []schema.Resource{r}; len(standIn(all, []fileResult{a}, false)) == 0 {
			for _, ref := range all[0].Refs {
				if namesUse(ref.Text) {
					t.Fatalf("%q in %q leaves %q", out, text, ref.Text)
				}
			}
		}
	})
}

// BenchmarkUses is 1,000 uses: cold, with one of them changed, and with the
// templates changed.
func BenchmarkUses(b *testing.B) {
	fsys, templates := files(), files("web.cue", pair)
	for i := range 100 {
		text := ""
		for n := range 10 {
			text += useOf("Pair@v1", fmt.Sprintf("u%d-%d", i, n), "{text: hello, count: 3}") + "---\n"
		}
		fsys[fmt.Sprintf("f%d.yaml", i)] = files("x", text)["x"]
	}
	for _, c := range []struct {
		name   string
		change func(n int)
	}{
		{"cold", nil},
		{"one use changed", func(n int) {
			fsys["f7.yaml"] = files("x", useOf("Pair@v1", fmt.Sprintf("n%d", n), "{text: hello}"))["x"]
		}},
		{"templates changed", func(n int) { templates["web.cue"] = files("x", fmt.Sprintf("%s\n// %d\n", pair, n))["x"] }},
	} {
		b.Run(c.name, func(b *testing.B) {
			pool := testPool(b)
			compiler := New(Options{Workers: pool})
			unfoldWith(b, compiler, fsys, templates, nil)
			for n := 0; b.Loop(); n++ {
				if c.change == nil {
					compiler = New(Options{Workers: pool})
				} else {
					c.change(n)
				}
				if res := unfoldWith(b, compiler, fsys, templates, nil); len(res.Findings) > 0 {
					b.Fatal(told(res))
				}
			}
		})
	}
}
