package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// What lies in the repository is what the schemas say.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	kinds, err := compile.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("..", "..")
	fields, doc, err := compile.ConfigFields()
	if err != nil {
		t.Fatal(err)
	}
	want := outputs(kinds, configPage(fields, doc))
	for name, data := range want {
		have, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !bytes.Equal(have, data) {
			t.Errorf("%s is not what the schemas say (%v); run go generate in schema/", name, err)
		}
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs", "kinds", "*"))
	if err != nil || len(pages) != len(want)-2 { // kinds.json and the configuration lie elsewhere
		t.Errorf("docs/kinds has %d pages, want %d", len(pages), len(want)-2)
	}
}

// Running twice writes the same, and drops the pages of kinds that are gone.
func TestRun(t *testing.T) {
	root := t.TempDir()
	stale := filepath.Join(root, "docs", "kinds", "local.gone.md")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var before []byte
	for range 2 {
		if err := run(root); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(filepath.Join(root, "schema", "kinds.json"))
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !bytes.Equal(before, after) {
			t.Error("two runs differ")
		}
		before = after
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("a stale page is left: %v", err)
	}
}

func TestPage(t *testing.T) {
	k, _ := schema.KindOf("local.process")
	text := page(*k)
	for _, line := range []string{
		"# local.process",
		"- `spec.argv`, `[string, ...string | number | bool]`, required: ",
		"- `spec.type`, `\"service\" | \"batch\"`, default `\"service\"`, changing it makes the resource anew: ",
		"  - `spec.check.interval`, `duration`, default `\"1s\"`: ",
		"- `@{local.process/NAME.instances}`, `int`: ",
		"not healthy 5m after",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
	file, _ := schema.KindOf("local.file")
	if text := page(*file); !strings.Contains(text, "not healthy 30s after") || !strings.Contains(text, ", secret: ") {
		t.Errorf("the page of local.file:\n%s", text)
	}
}

func TestConfigPage(t *testing.T) {
	fields, doc, err := compile.ConfigFields()
	if err != nil {
		t.Fatal(err)
	}
	text := configPage(fields, doc)
	for _, line := range []string{
		"\n- `data`, `string`, required: ", "\n  - `api.tokens`, ", "\n    - `api.tokens[].role`, `\"viewer\" | \"proposer\" | \"approver\" | \"operator\"`, required: ",
		"\n  - `environments.NAME.source`, ", "\n    - `environments.NAME.targets.NAME.engine`, ", "\n      - `environments.NAME.gates.budget.deletes`, `int & >=0 & <=1000000`, default `5`: ",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the page lacks %q", line)
		}
	}
}
