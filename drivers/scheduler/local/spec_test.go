package local

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

func TestPeriods(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "500ms": 500 * time.Millisecond, "10s": 10 * time.Second, "5m": 5 * time.Minute, "2h": 2 * time.Hour, "7d": 7 * 24 * time.Hour,
	} {
		if got, err := parsePeriod(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "s", "1", "-1s", "+1s", "1.5s", "1w", "1sm", " 1s", "1ss", "367d", "99999999999s"} {
		if got, err := parsePeriod(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

func TestRefusedSpecs(t *testing.T) {
	for _, text := range []string{
		`null`, `[]`, `{}`, `{} {}`, `{"argv":[]}`, `{"argv":[""]}`, `{"argv":["x"],"count":-1}`, `{"argv":["x"],"count":1001}`,
		`{"argv":["x"],"type":"system"}`, `{"argv":["x"],"env":{"A=B":"x"}}`, `{"argv":["x"],"env":{"A":[]}}`, `{"argv":["x"],"env":{"APLOMB_NAME":"x"}}`,
		`{"argv":["x"],"check":{}}`, `{"argv":["x"],"check":{"tcp":"a:1","http":"http://a"}}`, `{"argv":["x"],"check":{"tcp":"a:1","interval":"0s"}}`,
		`{"argv":["x"],"stop":{"signal":"STOP"}}`, `{"argv":["x"],"update":{"parallel":0}}`, `{"argv":["x"],"coutn":1}`,
		`{"argv":["x"],"restart":{"delay":"soon"}}`, `{"argv":["x"],"logs":{"maxSize":0}}`,
	} {
		tr, err := parseTree(json.RawMessage(text))
		if err == nil {
			_, err = tr.typed()
		}
		if err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestAddress(t *testing.T) {
	d := &Driver{}
	for text, want := range map[string]string{
		`{}`: "process/web", `{"id":"api"}`: "process/api",
		`{"id":"@{local.port/x.port}"}`: "", `{"id":"../x"}`: "", `{"id":""}`: "", `{"id":3}`: "",
	} {
		got, err := d.Address(Kind, "web", json.RawMessage(text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if _, err := d.Address("local.file", "web", json.RawMessage(`{}`)); err == nil {
		t.Error("another kind was taken")
	}
}

func TestDiff(t *testing.T) {
	parse := func(s string) tree {
		tr, err := decodeTree([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	live := parse(`{"a":1,"b":{"x":1,"y":2},"c":[1,2],"d":{"z":1},"e":{}}`)
	want := parse(`{"a":1,"b":{"x":2,"w":3},"c":[2],"e":{},"f":{"g":true},"h":"@{x/y.z}"}`)
	got := map[schema.Path]string{}
	for _, d := range diff(live, want, map[schema.Path]string{"/h": "@{x/y.z}"}) {
		got[d.Path] = string(d.Op) + " " + string(d.Before) + " " + string(d.After)
		if d.Unknown != (d.Path == "/h") {
			t.Errorf("%s: unknown is %t", d.Path, d.Unknown)
		}
	}
	if want := map[schema.Path]string{
		"/b/x": "update 1 2", "/b/y": "delete 2 ", "/b/w": "create  3", "/c": "update [1,2] [2]",
		"/d/z": "delete 1 ", "/f/g": "create  true", "/h": `create  "@{x/y.z}"`,
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func FuzzSpec(f *testing.F) {
	f.Add([]byte(`{"argv":["x"],"env":{"A":1,"B":true,"C":"d"},"check":{"tcp":"a:1"}}`))
	f.Add([]byte(`{"argv":["x"],"count":1e400,"restart":{"delay":"1ms"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		tr, err := parseTree(text)
		if err != nil {
			return
		}
		if _, err := tr.typed(); err != nil {
			return
		}
		again, err := parseTree(tr.json())
		if err != nil || !reflect.DeepEqual(tr, again) || tr.hash() != again.hash() {
			t.Errorf("%s is another spec once it was written: %v", text, err)
		}
	})
}

func FuzzGroup(f *testing.F) {
	f.Add([]byte(`{"format":1,"owner":"e","serial":3,"spec":{"argv":["x"]},"at":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if g, err := parseGroup(text); err == nil && (g.spec == nil || len(g.spec.Argv) == 0) {
			t.Errorf("%s was taken", text)
		}
	})
}
