package compile

import (
	"strings"
	"testing"
)

// A field of any value takes what YAML has, as deep as it goes; references in
// it are found, and keys hold none.
func TestAnything(t *testing.T) {
	res := compileHere(t, files("a.yaml", `apiVersion: aplomb.dev/v1
kind: consul.kv
metadata: {name: settings}
spec:
  JSON:
    deep: {list: [1, 2.5, true, null, {port: "@{local.port/p.port}"}], "a b": "<x>"}
    none: {}
---
apiVersion: aplomb.dev/v1
kind: local.port
metadata: {name: p}
spec: {}
`))
	if len(res.Resources) != 2 {
		t.Fatal(res.Findings)
	}
	kv := res.Resources[0]
	if kv.ID.Kind != "consul.kv" {
		kv = res.Resources[1]
	}
	const want = `{"JSON":{"deep":{"a b":"<x>","list":[1,2.5,true,null,{"port":"@{local.port/p.port}"}]},"none":{}}}`
	if string(kv.Spec) != want {
		t.Errorf("spec %s, want %s", kv.Spec, want)
	}
	if len(kv.Refs) != 1 || kv.Refs[0].Path != "/JSON/deep/list/4/port" {
		t.Errorf("references %+v", kv.Refs)
	}
	res = compileHere(t, files("a.yaml", `apiVersion: aplomb.dev/v1
kind: consul.kv
metadata: {name: settings}
spec:
  JSON:
    a: {"@{local.port/p.port}": 1, b: "@{local.port/p.prot}", c: ["@{local.secret/s.value}"]}
`))
	var all []string
	for _, f := range res.Findings {
		all = append(all, f.Message)
	}
	text := strings.Join(all, "\n")
	for _, says := range []string{"a key cannot hold a reference", "has no output prot", "is a secret, and this field takes none"} {
		if !strings.Contains(text, says) {
			t.Errorf("no finding says %q: %s", says, text)
		}
	}
}
