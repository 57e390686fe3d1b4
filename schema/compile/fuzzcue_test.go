package compile

import (
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// FuzzCUE: whatever a package of CUE says, real workers answer with resources
// that hold together, or with findings in its files; and the file beside it is
// checked.
func FuzzCUE(f *testing.F) {
	f.Add(samplePackage(1))
	f.Add("package a\n\nimport \"aplomb.dev/schema/local\"\n\nx: local.#Process & {metadata: name: \"x\", spec: {argv: [1], count: \"a\", b: _}}\n")
	f.Add("x: apiVersion: \"aplomb.dev/v1\"\nx: {kind: \"local.port\", kind: string, metadata: {name: y}}\ny: string | *\"p\"\n")
	f.Add("a: [if b {1}, 2 & 3, {c: a}]\nb: bool\n#d: {e: f}\nf: 1/0\n_g: 1 & 2\n")
	f.Add("@extern(embed)\npackage a\na: _ @embed(file=x)\n\"\\(b)\": 1\nb: 'x'\n")
	f.Add("package a\n\nx: {apiVersion: *\"aplomb.dev/v1\" | 1, kind!: \"local.port\", metadata?: _}\n")
	p := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Deadline: 2 * time.Second, Memory: 192 << 20, Processes: 1}})
	f.Cleanup(func() { _ = p.Close() })
	c := New(Options{Workers: p, Limits: Limits{FileBytes: 1 << 16, Depth: 20, Nodes: 2000}})
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 8<<10 {
			return
		}
		res, err := c.Compile(t.Context(), Declarations{FS: files("a/a.cue", text, "z.yaml", port("z"))})
		if err != nil {
			t.Fatal(err)
		}
		lines := 1 + strings.Count(text, "\n")
		for _, d := range res.Findings {
			if d.Pos.File != "a/a.cue" || d.Pos.Line < 1 || d.Pos.Col < 1 || d.Pos.Line > lines || d.Message == "" {
				t.Fatalf("a finding without a place in %d lines: %s", lines, d)
			}
			if strings.Contains(d.String(), nowhereWord) {
				t.Fatalf("a finding tells of a folder that there is not: %s", d)
			}
		}
		for _, r := range res.Resources {
			holdsTogether(t, r)
		}
		if !strings.Contains(strings.Join(names(res.Seen), " "), "local.port/z") {
			t.Fatalf("the file beside it: %v", res.Seen)
		}
	})
}

// nowhereWord is part of the folder that CUE takes the tree to lie in.
const nowhereWord = "/nonexistent"
