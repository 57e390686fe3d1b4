package compile

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the findings that are found into testdata")

// TestFindings reads testdata/*.txtar: trees of bad input, each with the
// findings that it must yield, in a file named findings.
func TestFindings(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			checkFindings(t, path)
		})
	}
}

func checkFindings(t *testing.T, path string) {
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fsys, want := fstest.MapFS{}, ""
	var kept []txtar.File
	for _, f := range ar.Files {
		if f.Name == "findings" {
			want = string(f.Data)
			continue
		}
		kept = append(kept, f)
		fsys[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	var got strings.Builder
	res := compileHere(t, fsys)
	for _, d := range res.Findings {
		got.WriteString(d.String() + "\n")
		if d.Hint != "" {
			got.WriteString("  hint: " + d.Hint + "\n")
		}
	}
	if len(res.Findings) == 0 {
		t.Error("no findings")
	}
	if *update {
		ar.Files = append(kept, txtar.File{Name: "findings", Data: []byte(got.String())})
		if err := os.WriteFile(path, txtar.Format(ar), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got.String() != want {
		t.Errorf("findings:\n%s\nwant:\n%s", got.String(), want)
	}
	for _, jargon := range []string{"conflicting values", "disjunction", "mismatched", "incomplete", "#"} {
		if jargon == "#" && strings.HasPrefix(filepath.Base(path), "cue-") {
			continue // who writes CUE knows definitions
		}
		if strings.Contains(got.String(), jargon) {
			t.Errorf("a finding says %q", jargon)
		}
	}
}
