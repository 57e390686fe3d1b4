package cueload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
)

// vet does what cue vet does with a folder on the disk.
func vet(t *testing.T, dir string) error {
	t.Helper()
	inst := load.Instances([]string{"."}, &load.Config{Dir: dir, Env: []string{"CUE_REGISTRY=none", "HOME=" + t.TempDir()}})[0]
	if inst.Err != nil {
		return inst.Err
	}
	return cuecontext.New().BuildInstance(inst).Validate(cue.Concrete(true))
}

// What Write writes is found by CUE's own loader, which has never heard of this
// program.
func TestWrite(t *testing.T) {
	root := filepath.Join(t.TempDir(), "My Fleet")
	stale := filepath.Join(root, "cue.mod/pkg/aplomb.dev/schema/old/old.cue")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, []byte("package old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	written, err := Write(root)
	if err != nil || len(written) < 10 {
		t.Fatal(written, err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("what an earlier version wrote is still there")
	}
	text, err := os.ReadFile(filepath.Join(root, moduleFile))
	if err != nil || !strings.Contains(string(text), `"example.org/my-fleet@v0"`) {
		t.Errorf("the module file: %s, %v", text, err)
	}
	good := `package app

import (
	"aplomb.dev/schema/local"
	"aplomb.dev/schema/nomad"
	"aplomb.dev/templates"
)

#Own: templates.#WebService

web: local.#Process & {
	metadata: name: "web"
	spec: {argv: ["web"], count: "@{local.port/web.port}"}
}
job: nomad.#Job & {
	metadata: name: "job"
	spec: job: TaskGroups: [{Name: "a", Count: 2}]
}
`
	dir := filepath.Join(root, "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"": "", `"web"]`: "web.spec.argv.0: conflicting values", "Count: 2": "Count", "argv:": "field not allowed", `name: "job"`: "job.metadata.name",
	} {
		to := map[string]string{`"web"]`: "1]", "Count: 2": "Count: true", "argv:": "argw:", `name: "job"`: `name: "Job"`}[from]
		if err := os.WriteFile(filepath.Join(dir, "a.cue"), []byte(strings.Replace(good, from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := vet(t, dir)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(errors.Details(err, nil), want) {
			t.Errorf("%q: %v, want %q", to, err, want)
		}
	}
	if again, err := Write(root); err != nil || len(again) != len(written)-1 {
		t.Errorf("again %d files, %v", len(again), err)
	}
}
