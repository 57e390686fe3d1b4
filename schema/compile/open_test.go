package compile

import (
	"testing"
)

// A field that takes anything takes it as it is, with references however deep;
// a folder becomes all its files.
func TestFieldsThatTakeAnything(t *testing.T) {
	res := compileHere(t, files("nets/a.yaml", `apiVersion: aplomb.dev/v1
kind: tofu.stack
metadata: {name: net}
spec:
  module: ./mod/
  vars:
    region: eu
    zones: [a, {b: "@{local.port/p.port}"}]
    tags: {n: 1.5, deep: {er: ["x-@{local.port/p.port}"], none: null, yes: true}}
  secretVars: {pw: "@{local.secret/s.value}"}
  outputs: {id: {}, pw: {sensitive: true}}
---
apiVersion: aplomb.dev/v1
kind: local.port
metadata: {name: p}
---
apiVersion: aplomb.dev/v1
kind: local.secret
metadata: {name: s}
`, "nets/mod/main.tf", "# m", "nets/mod/sub/x.tf", "# x", "nets/mod/.terraform.lock.hcl", "# l"))
	if len(res.Findings) > 0 || len(res.Resources) != 3 {
		t.Fatalf("%d resources, %v", len(res.Resources), res.Findings)
	}
	for _, r := range res.Resources {
		if r.ID.Kind != "tofu.stack" {
			continue
		}
		const want = `{"module":"nets/mod","outputs":{"id":{"sensitive":false,"type":"string"},"pw":{"sensitive":true,"type":"string"}},` +
			`"secretVars":{"pw":"@{local.secret/s.value}"},"vars":{"region":"eu","tags":{"deep":{"er":["x-@{local.port/p.port}"],"none":null,"yes":true},"n":1.5},` +
			`"zones":["a",{"b":"@{local.port/p.port}"}]}}`
		if string(r.Spec) != want {
			t.Errorf("got  %s\nwant %s", r.Spec, want)
		}
		if len(r.Files) != 3 || len(r.Refs) != 3 || r.Refs[1].Path != "/vars/tags/deep/er/0" || !r.Data {
			t.Errorf("%d files, refs %+v, data %t", len(r.Files), r.Refs, r.Data)
		}
	}
}
