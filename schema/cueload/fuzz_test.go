package cueload

import (
	"strings"
	"testing"
)

// FuzzHeader: what is parsed outside of a worker, the head of a file and the
// name of a module, never ends this process, and leads to no file outside of
// the tree.
func FuzzHeader(f *testing.F) {
	f.Add("// doc\n@if(x)\npackage shop\nimport (\"a.b/c\", x \"../../etc:passwd\")\n", "module: \"example.org/fleet@v0\"\n")
	f.Add("import \"\\u002e./x\"\n", "module: \"\"\nmodule: 1\n")
	f.Add(strings.Repeat("@a(", 30)+"package x", strings.Repeat("{a:[", 30))
	f.Add("\ufeffpackage \"x", "\"module\": \"..\"")
	f.Fuzz(func(t *testing.T, text, module string) {
		pkg, imports := header("a.cue", []byte(text))
		if strings.ContainsAny(pkg, "/ \n\"") {
			t.Fatalf("the package %q", pkg)
		}
		if len(imports) > 50 {
			return
		}
		fsys := tree("a/a.cue", text, "cue.mod/module.cue", module, "a/b.cue", "package a\n")
		r := NewReader(fsys, 1<<16)
		got, err := r.Package("a/a.cue")
		if err != nil || got != pkg {
			t.Fatalf("the package %q, not %q: %v", got, pkg, err)
		}
		b, err := r.FileBundle("a/a.cue")
		if err != nil {
			return
		}
		for _, file := range b.Files {
			if _, ok := fsys[file.Path]; !ok {
				t.Fatalf("it holds %q", file.Path)
			}
		}
	})
}
