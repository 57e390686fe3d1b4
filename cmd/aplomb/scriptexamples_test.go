package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// examples is the folder of the examples; scripts know it as $EXAMPLES.
func examples() (string, error) { return filepath.Abs(filepath.Join("..", "..", "examples")) }

// cmdBuild is: build ./examples/NAME/cmd/PROGRAM. From then on the script, and
// what it starts, have that program of the repository on PATH.
func cmdBuild(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: build PACKAGE")
	}
	bin := ts.MkAbs("bin")
	ts.Check(os.MkdirAll(bin, 0o700))
	all, err := examples()
	ts.Check(err)
	cmd := exec.Command("go", "build", "-o", bin+string(filepath.Separator), args[0])
	cmd.Dir = filepath.Dir(all)
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("build %s: %v\n%s", args[0], err, out)
	}
	ts.Setenv("PATH", bin+string(filepath.ListSeparator)+ts.Getenv("PATH"))
}

// cmdCopyTree is: copytree FROM TO.
func cmdCopyTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copytree FROM TO")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}
