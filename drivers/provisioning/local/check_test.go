package local

import (
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestCheck(t *testing.T) {
	d := newDriver(t)
	const ref = "@{local.port/p.port}"
	type words = map[string]any
	for name, c := range map[string]struct {
		kind     string
		spec     words
		template string
		unknown  schema.Path
		refused  string // "": it passes
		hint     string
	}{
		"content":             {FileKind, words{"path": "a", "content": "x"}, "", "", "", ""},
		"template":            {FileKind, words{"path": "a", "template": "t", "vars": words{"A": 1}}, "{{.A}}", "", "", ""},
		"does not parse":      {FileKind, words{"path": "a", "template": "t"}, "{{.A", "", "t:1: unclosed action", ""},
		"parse, unknown":      {FileKind, words{"path": "a", "template": "t", "vars": words{"A": ref}}, "{{if}}", "/vars/A", "missing value for if", ""},
		"no such function":    {FileKind, words{"path": "a", "template": "t"}, `{{exec "x"}}`, "", `function "exec" not defined`, ""},
		"missing variable":    {FileKind, words{"path": "a", "template": "t", "vars": words{"A": 1}}, "{{.B}}", "", `no entry for key "B"`, "must be in vars"},
		"missing, unknown":    {FileKind, words{"path": "a", "template": "t", "vars": words{"PORT": ref}}, "{{.PORT}} {{.PROT}}", "/vars/PORT", "uses .PROT, which is not in vars", "did you mean .PORT?"},
		"missing in a call":   {FileKind, words{"path": "a", "template": "t", "vars": words{"A": ref}}, `{{printf "%s" (print $.B)}}`, "/vars/A", "uses .B,", ""},
		"missing in an if":    {FileKind, words{"path": "a", "template": "t", "vars": words{"A": ref}}, "{{if .B}}{{end}}", "/vars/A", "uses .B,", ""},
		"maybe never asked":   {FileKind, words{"path": "a", "template": "t", "vars": words{"A": ref}}, "{{if .A}}{{.B}}{{end}}{{or .A .C}}", "/vars/A", "", ""},
		"another dot":         {FileKind, words{"path": "a", "template": "t", "vars": words{"A": ref}}, `{{with .A}}{{.B}}{{end}}{{define "x"}}{{.C}}{{end}}`, "/vars/A", "", ""},
		"an empty template":   {FileKind, words{"path": "a", "template": "t", "vars": words{"A": ref}}, "", "/vars/A", "", ""},
		"port":                {PortKind, words{"number": 80, "host": "::1"}, "", "", "", ""},
		"no host":             {PortKind, words{"host": "example.org"}, "", "", "neither an IP address nor localhost", ""},
		"a host not known":    {PortKind, words{"host": ref}, "", "/host", "", ""},
		"no host, but number": {PortKind, words{"host": "x", "number": ref}, "", "/number", "neither an IP", ""},
		"kind":                {"local.none", words{}, "", "", "no kind", ""},
	} {
		t.Run(name, func(t *testing.T) {
			want := drivers.Desired{Spec: drivertest.JSON(t, c.spec)}
			if c.spec["template"] != nil {
				want.Files = schema.Tree{{Path: "t", Data: []byte(c.template)}}
			}
			if c.unknown != "" {
				want.Unknown = map[schema.Path]string{c.unknown: ref}
			}
			err := d.Check(c.kind, "web", want)
			if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("%v; want %q", err, c.refused)
			}
			if hint := drivers.HintOf(err); !strings.Contains(hint, c.hint) {
				t.Errorf("hint %q, want %q", hint, c.hint)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	d := newDriver(t)
	d.Allow = []string{t.TempDir()}
	for name, c := range map[string]struct {
		kind string
		spec map[string]any
		want []string
	}{
		"file":       {FileKind, map[string]any{"path": "./a/b/../c"}, []string{"path a/c", "path a shared"}},
		"absolute":   {FileKind, map[string]any{"path": d.Allow[0] + "/a/c"}, []string{"path " + d.Allow[0] + "/a/c", "path " + d.Allow[0] + "/a shared"}},
		"no address": {FileKind, map[string]any{"path": "../a"}, nil},
		"fixed":      {PortKind, map[string]any{"number": 80}, []string{"port 80 shared", "port 80 of 127.0.0.1"}},
		"localhost":  {PortKind, map[string]any{"number": 80, "host": "localhost"}, []string{"port 80 shared", "port 80 of 127.0.0.1"}},
		"everywhere": {PortKind, map[string]any{"number": 80, "host": "0.0.0.0"}, []string{"port 80"}},
		"chosen":     {PortKind, map[string]any{"host": "::1"}, nil},
	} {
		var got []string
		for _, claim := range d.Claims(c.kind, "web", drivers.Desired{Spec: drivertest.JSON(t, c.spec)}) {
			s := claim.Thing
			if claim.Shared {
				s += " shared"
			}
			got = append(got, s)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
