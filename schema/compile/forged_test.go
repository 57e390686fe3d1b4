package compile

import "testing"

// Nobody can hide anything from a reviewer behind what looks like a secret.
func TestForgedToken(t *testing.T) {
	fsys := files("a.yaml", `apiVersion: aplomb.dev/v1
kind: local.process
metadata: {name: p}
spec:
  argv: [sh, -c, ": [secret:x] hidden"]
  env: {A: "[secret:00]"}
---
apiVersion: aplomb.dev/v1
kind: local.file
metadata: {name: f}
spec: {path: f, template: t.tmpl}
`)
	fsys["t.tmpl"] = files("t", "a [secret:\nhidden]")["t"]
	wantFindings(t, compileHere(t, fsys),
		"a.yaml:5:18: local.process/p: spec.argv[2]: [secret: stands for",
		"a.yaml:6:12: local.process/p: spec.env.A: [secret: stands for",
		"a.yaml:11:27: local.file/f: spec.template: the file t.tmpl: it holds [secret:")
}
