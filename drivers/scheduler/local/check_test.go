package local

import (
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestCheck(t *testing.T) {
	d := &Driver{Root: "/root"}
	for spec, c := range map[string]struct {
		unknown string // paths
		refused string
	}{
		`{"id":"y","argv":["x"],"count":0,"env":{},"logs":{"keep":3,"maxSize":10},"restart":{"delay":"1s","maxDelay":"1m"},` +
			`"stop":{"grace":"10s","signal":"TERM"},"type":"batch","update":{"parallel":1}}`: {},
		`{"argv":["x"],"count":0,"env":{},"logs":{"keep":3,"maxSize":10},"restart":{"delay":"1s","maxDelay":"1m"},"dir":"/x",` +
			`"stop":{"grace":"10s","signal":"TERM"},"type":"batch","update":{"parallel":1}}`: {"", "leaves the environment's root"},
		`{"argv":["x"]}`: {},
		`{"argv":["x","@{r}"],"count":"@{r}","env":{"A":"@{r}"}}`: {"/argv/1 /count /env/A", ""},
		`{"argv":["x"],"check":{"http":"http://@{r}/"}}`:          {"/check/http", ""},
		`{"argv":["x"],"check":{"tcp":"@{r}","interval":"@{r}"}}`: {"/check/tcp /check/interval", ""},
		`{"argv":["x"],"logs":{"keep":"@{r}"},"dir":"@{r}"}`:      {"/logs/keep /dir", ""},
		`{"argv":["x"],"count":"@{r}","stop":{"signal":"STOP"}}`:  {"/count", "stop.signal"},
		`{"argv":["x"],"restart":{"delay":"400d"}}`:               {"", "longer than a year"},
		`{"argv":["x"],"check":{"tcp":"x:1","interval":"0s"}}`:    {"", "must be positive"},
		`{"argv":["x"],"check":{"tcp":"x:99999"}}`:                {"", "not host:port"},
		`{"argv":["x"],"check":{"http":"http://"}}`:               {"", "not a URL with a host"},
		`{"argv":["x"],"dir":"../y"}`:                             {"", "leaves the environment's root"},
		`{"argv":["x","a\u0000b"]}`:                               {"", "argv[1] holds a NUL"},
		`{"argv":["x"],"env":{"A":"a\u0000b"}}`:                   {"", "env.A holds a NUL"},
		`{"argv":["x"],"env":{"A=B":"@{r}"}}`:                     {"/env/A=B", "cannot be a variable's name"},
	} {
		want := drivers.Desired{Spec: []byte(spec), Unknown: map[schema.Path]string{}}
		for _, p := range strings.Fields(c.unknown) {
			want.Unknown[schema.Path(p)] = "@{r}"
		}
		err := d.Check(Kind, "web", want)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v; want %q", spec, err, c.refused)
		}
	}
	if d.Check("local.none", "web", drivers.Desired{}) == nil {
		t.Error("another kind was taken")
	}
}

func TestArguments(t *testing.T) {
	tr, err := parseTree([]byte(`{"argv":["web","-p",8080,1e6,1.50,-2E-3,true,false,9007199254740993,"1e6"]}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := tr.typed()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"web", "-p", "8080", "1000000", "1.50", "-0.002", "true", "false", "9007199254740993", "1e6"}
	if !slices.Equal(s.Argv, want) {
		t.Errorf("%q, want %q", s.Argv, want)
	}
	for _, bad := range []string{`{"argv":["x",[]]}`, `{"argv":["x",{}]}`, `{"argv":["x",null]}`, `{"argv":"x"}`} {
		tr, err := parseTree([]byte(bad))
		if err == nil {
			_, err = tr.typed()
		}
		if err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
