package compile

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/schema"
)

// files makes a tree of name, content pairs.
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return fsys
}

// compileHere compiles in this process.
func compileHere(t testing.TB, fsys fstest.MapFS) Result {
	t.Helper()
	c := New(Options{})
	res, err := c.Compile(t.Context(), Declarations{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Findings) > 0 && res.Resources != nil {
		t.Fatal("resources and findings at once")
	}
	return res
}

const shop = `apiVersion: aplomb.dev/v1
kind: local.process
metadata:
  name: web
  labels: {team: shop}
  needs: [local.secret/session]
  hold: [delete]
  expires: 2027-01-31
spec:
  argv: [./web, "-listen", "@{local.port/web.address}"]
  env:
    SESSION: "@{local.secret/session.value}"
    GREETING: "a @@{literal} <b>"
    N: 3
  check: {http: "http://@{local.port/web.address}/health"}
---
apiVersion: aplomb.dev/v1
kind: local.service
metadata: {name: web, targets: [here, there]}
spec: {port: "@{local.port/web.port}"}
---
apiVersion: aplomb.dev/v1
kind: local.file
metadata: {name: conf, adopt: true, was: local.file/old}
spec: {path: etc/conf, template: conf.yaml, vars: {PORT: "@{local.port/web.port}"}}
---
apiVersion: aplomb.dev/v1
kind: local.port
metadata: {name: web, target: here}
`

func TestCompile(t *testing.T) {
	res := compileHere(t, files("shop/web.yaml", shop, "shop/conf.yaml", "port: {{.PORT}}\n",
		"session.json", `{"apiVersion": "aplomb.dev/v1", "kind": "local.secret", "metadata": {"name": "session"}}`))
	for _, d := range res.Findings {
		t.Error(d)
	}
	if len(res.Resources) != 5 {
		t.Fatalf("%d resources, want 5", len(res.Resources))
	}
	got, err := json.MarshalIndent(res.Resources, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(string(got))
	if s := string(res.Resources[1].Spec); !strings.Contains(s, "web") {
		t.Log(s)
	}
	_ = schema.ID{}
}
