package tofu

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func sorted(t schema.Tree) schema.Tree {
	slices.SortFunc(t, func(a, b schema.File) int { return strings.Compare(a.Path, b.Path) })
	return t
}

// aPlan is show -json of a plan with one of everything.
const aPlan = `{"variables":{"s":{"value":"hunter2"}},"resource_changes":[
{"address":"t.new","mode":"managed","change":{"actions":["create"],"before":null,"after":{"name":"n","secret":"hunter2","none":null,"deep":{"pw":"other-secret","ok":1}},
 "after_unknown":{"id":true,"deep":{"at":true}},"before_sensitive":false,"after_sensitive":{"secret":true,"deep":{"pw":true}}}},
{"address":"t.same","mode":"managed","change":{"actions":["no-op"],"before":{"token":"kept-secret"},"after":{"token":"kept-secret"},"before_sensitive":{"token":true},"after_sensitive":{"token":true}}},
{"address":"t.up","mode":"managed","change":{"actions":["update"],"before":{"a":1,"b":[1,2],"pw":"old-secret"},"after":{"a":1,"b":[1,3],"pw":"hunter2"},
 "after_unknown":{},"before_sensitive":{"pw":true},"after_sensitive":{"pw":true}}},
{"address":"t.re","mode":"managed","change":{"actions":["delete","create"],"before":{"zone":"a","id":"1"},"after":{"zone":"b"},"after_unknown":{"id":true},"before_sensitive":{},"after_sensitive":{}}},
{"address":"t.gone","mode":"managed","change":{"actions":["delete"],"before":{"zone":"[secret:forged]"},"after":null,"before_sensitive":{},"after_sensitive":false}},
{"address":"t.moved","previous_address":"t.old","mode":"managed","change":{"actions":["no-op"],"before":{"x":1},"after":{"x":1}}},
{"address":"data.t.read","mode":"data","change":{"actions":["read"],"before":null,"after":{}}},
{"address":"t.left","mode":"managed","change":{"actions":["forget"],"before":{"x":1},"after":null}},
{"address":"t.new","deposed":"abc","mode":"managed","change":{"actions":["delete"],"before":{"x":1},"after":null}}
],"output_changes":{
"o":{"actions":["create"],"before":null,"after":"v","after_unknown":false,"before_sensitive":false,"after_sensitive":false},
"u":{"actions":["update"],"before":"v","after_unknown":true,"before_sensitive":false,"after_sensitive":false},
"s":{"actions":["update"],"before":"old-secret","after":"hunter2","after_unknown":false,"before_sensitive":true,"after_sensitive":true},
"n":{"actions":["no-op"],"before":[1],"after":[1],"after_unknown":false,"before_sensitive":false,"after_sensitive":false},
"d":{"actions":["delete"],"before":1,"after":null,"after_unknown":false,"before_sensitive":false,"after_sensitive":false}},
"resource_drift":[{"address":"t.up","mode":"managed","change":{"actions":["update"]}}],
"checks":[{"address":{"to_display":"check.ok"},"status":"pass"},{"address":{"to_display":"check.bad"},"status":"fail","instances":[{"problems":[{"message":"it is bad"}]}]},
{"address":{"to_display":"t.x"},"status":"error"}]}`

func TestDigest(t *testing.T) {
	p, err := parsePlan([]byte(aPlan))
	drivertest.Must(t, err)
	token := schema.Token("of-the-spec")
	m := &masker{fingerprint: drivertest.Fingerprint, tokens: map[string]string{"hunter2": token}}
	got, err := m.digest(p)
	drivertest.Must(t, err)
	print := func(s string) string { return schema.Token(drivertest.Fingerprint([]byte(s))) }
	want := map[string]string{
		"create /!resources/t.new":               ` {"deep":{"at":"(known after apply)","ok":1,"pw":"` + print("other-secret") + `"},"id":"(known after apply)","name":"n","secret":"` + token + `"}`,
		"update /!resources/t.up":                `{"b":[1,2],"pw":"` + print("old-secret") + `"} {"b":[1,3],"pw":"` + token + `"}`,
		"replace /!resources/t.re":               `{"id":"1","zone":"a"} {"id":"(known after apply)","zone":"b"}`,
		"delete /!resources/t.gone":              `{"zone":"[secret :forged]"} `,
		"update /!resources/t.moved":             `{"!address":"t.old"} {"!address":"t.moved"}`,
		"update /!resources/t.left":              `{"x":1} {}`,
		"delete /!resources/t.new (deposed abc)": `{"x":1} `,
		"create /!outputs/o":                     ` "v"`,
		"update /!outputs/u":                     `"v" "(known after apply)"`,
		"update /!outputs/s":                     `"` + print("old-secret") + `" "` + token + `"`,
		"delete /!outputs/d":                     `1 `,
	}
	for _, d := range got.deltas {
		key := string(d.Op) + " " + string(d.Path)
		if text := string(d.Before) + " " + string(d.After); want[key] != text {
			t.Errorf("%s:\n got %s\nwant %s", key, text, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("there is no %v", want)
	}
	if got.worst != schema.Replace || got.total != 8 || !slices.Equal(got.drifted, []string{"t.up"}) {
		t.Errorf("%s, %d, %v", got.worst, got.total, got.drifted)
	}
	if !slices.ContainsFunc(got.secrets, func(s schema.Secret) bool { return s.Reveal() == "kept-secret" }) {
		t.Error("the scrubber is not told of a secret that stays")
	}
	if failed := failedChecks(p.Checks); !slices.Equal(failed, []string{"check.bad: it is bad", "t.x: error"}) {
		t.Errorf("%q", failed)
	}
	if long := m.mask(map[string]any{"x": strings.Repeat("y", maxValue)}, nil).(map[string]any)["x"].(string); len(long) > 100 {
		t.Errorf("a long value is told whole: %.80s", long)
	}
}

func TestListen(t *testing.T) {
	long := strings.Repeat("x", maxLine+1)
	s, err := listen(strings.NewReader("no json\n" + long + "\n" +
		`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Told to fail.","detail":"with\nhunter2","address":"t.a","snippet":{"code":"hunter2"}}}` + "\n" +
		`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Bad","range":{"filename":"main.tf","start":{"line":3}}}}` + "\n" +
		`{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Check block assertion failed","detail":"it is bad"}}` + "\n" +
		`{"type":"outputs","outputs":{"a":{"sensitive":false,"value":1}}}`))
	drivertest.Must(t, err)
	if got := s.error(newScrubber([]schema.Secret{schema.NewSecret("hunter2")})).Error(); got != "t.a: Told to fail: with [redacted]; main.tf:3: Bad" {
		t.Errorf("%q", got)
	}
	if !slices.Equal(s.checks, []string{"it is bad"}) || !s.ended || string(s.outputs["a"].Value) != "1" {
		t.Errorf("%+v", s)
	}
	for summary, class := range map[string]error{
		"Saved plan is stale": drivers.ErrStale, "Error acquiring the state lock": drivers.ErrWaiting, "Invalid value for variable": drivers.ErrPermanent, "Whatever": drivers.ErrRetryable,
	} {
		if got := (&said{errors: []diagnostic{{Summary: summary}}}).class(); !errors.Is(got, class) {
			t.Errorf("%s: %v", summary, got)
		}
	}
	if got := plainError(ended{errs: []byte("\n╷\n│ Error: Failed to\n│ query hunter2\n╵\n")}, newScrubber([]schema.Secret{schema.NewSecret("hunter2")})).Error(); got != "Failed to query [redacted]" {
		t.Errorf("%q", got)
	}
}

func TestProgress(t *testing.T) {
	p := &progress{total: 2}
	var told []string
	for _, l := range []string{
		`{"type":"apply_start","hook":{"resource":{"addr":"t.a"},"action":"create"}}`, `{"type":"apply_complete","hook":{"action":"create"}}`,
		`{"type":"apply_start","hook":{"resource":{"addr":"data.x"},"action":"read"}}`, `{"type":"apply_start","hook":{"resource":{"addr":"t.b"},"action":"delete"}}`, `garbage`,
	} {
		if s := p.hear([]byte(l)); s != "" {
			told = append(told, s)
		}
	}
	if !slices.Equal(told, []string{"t.a: creating, 1 of 2", "t.b: deleting, 2 of 2"}) {
		t.Errorf("%q", told)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(aPlan))
	f.Add([]byte(`{"resource_changes":[{"change":{"actions":["update"],"before":1,"after":[],"after_unknown":{"x":[true]},"after_sensitive":[[true]]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePlan(data)
		if err != nil {
			return
		}
		m := &masker{fingerprint: drivertest.Fingerprint, tokens: map[string]string{}}
		got, err := m.digest(p)
		if err != nil {
			return
		}
		for _, d := range got.deltas {
			if !strings.HasPrefix(string(d.Path), "/!") || len(d.Before)+len(d.After) == 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

func FuzzListen(f *testing.F) {
	f.Add([]byte(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"x","range":{}}}` + "\n" + `{"type":"outputs","outputs":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := listen(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		_ = s.error(newScrubber(nil))
		p := &progress{}
		_ = eachLine(strings.NewReader(string(data)), func(l []byte) { _ = p.hear(l) })
	})
}

func FuzzModule(f *testing.F) {
	f.Add([]byte(goodModule), "main.tf")
	f.Add([]byte(`{"variable":{"x":{"type":"list(string)","default":[]}},"module":{"m":{"source":"../x"}}}`), "main.tf.json")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		files := schema.Tree{{Path: "m/" + name, Data: data}}
		m := readModule("m", files)
		for _, x := range m.findings {
			_ = x.String()
		}
		_ = m.given(spec{Module: "m"}, nil)
	})
}
