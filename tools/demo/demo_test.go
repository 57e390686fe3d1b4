// Package demo tests the script behind make demo. It must not know what aplomb
// does with what the script prepares: a program that only says how it was
// started stands in for it.
package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stage is a repository with nothing in it but what the script uses.
func stage(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	shop, err := filepath.Glob("../../examples/shop/*.*")
	if err != nil || len(shop) < 4 {
		t.Fatalf("examples/shop holds %v, %v", shop, err)
	}
	for _, name := range shop {
		copyFile(t, name, filepath.Join(root, "examples/shop", filepath.Base(name)))
	}
	copyFile(t, "demo.sh", filepath.Join(root, "tools/demo/demo.sh"))
	write(t, filepath.Join(root, "bin/aplomb"), "#!/bin/sh\necho \"aplomb $* in $PWD\"\n", 0o700)
	return root
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data), 0o600)
}

func write(t *testing.T, to, data string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
}

// run starts a program without anything of this machine's Git configuration.
func run(t *testing.T, env []string, argv ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, env []string, argv ...string) string {
	t.Helper()
	out, err := run(t, env, argv...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

func TestDemo(t *testing.T) {
	root := stage(t)
	dir := filepath.Join(t.TempDir(), "demo")
	env := []string{"DEMO=" + dir}
	script := filepath.Join(root, "tools/demo/demo.sh")
	out := must(t, env, "sh", script)

	if last := "aplomb up shop in " + dir + "\n"; !strings.HasSuffix(out, last) {
		t.Errorf("the last thing done is not %q:\n%s", last, out)
	}
	for _, want := range []string{"aplomb status -w", "git -C shop commit", `pkill -9 -n -f "shop web -config $PWD/"`, "Ctrl-C", "aplomb down"} {
		if !strings.Contains(out, want) {
			t.Errorf("the screen does not say %q", want)
		}
	}

	repo := filepath.Join(dir, "shop")
	committed := strings.Fields(must(t, nil, "git", "-C", repo, "ls-tree", "-r", "--name-only", "main"))
	if want := []string{"network.yaml", "web.json.tmpl", "web.yaml", "worker.yaml"}; !slices.Equal(committed, want) {
		t.Errorf("committed are %v, want %v", committed, want)
	}
	if dirty := must(t, nil, "git", "-C", repo, "status", "--porcelain"); dirty != "" {
		t.Errorf("the work tree is dirty:\n%s", dirty)
	}
	if there := must(t, nil, "sh", "-c", `. "$0/env" && aplomb status`, dir); there != "aplomb status in "+dir+"\n" {
		t.Errorf("another terminal gets %q", there)
	}
	if out, err := run(t, env, "sh", script); err == nil {
		t.Errorf("a second demo in the same folder is let through:\n%s", out)
	}
}

// What the screen says to type must work: the edit changes the greeting and
// can be committed by somebody who has told Git nothing about themselves.
func TestDemoEdits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	out := must(t, []string{"DEMO=" + dir}, "sh", filepath.Join(stage(t), "tools/demo/demo.sh"))
	var typed []string
	for line := range strings.Lines(out) {
		command, _, _ := strings.Cut(strings.TrimSpace(line), "  #")
		if strings.HasPrefix(command, "sed ") || strings.HasPrefix(command, "echo ") || strings.Contains(command, " commit ") || strings.Contains(command, " revert ") {
			typed = append(typed, strings.TrimSpace(command))
		}
	}
	if len(typed) != 5 {
		t.Fatalf("the screen says to type %q", typed)
	}
	must(t, nil, "sh", "-ec", "cd \"$0\"\n"+strings.Join(typed, "\n"), dir)

	repo := filepath.Join(dir, "shop")
	if n := must(t, nil, "git", "-C", repo, "rev-list", "--count", "main"); n != "4\n" {
		t.Errorf("%s commits, want 4", strings.TrimSpace(n))
	}
	if diff := must(t, nil, "git", "-C", repo, "diff", "--stat", "HEAD~1", "HEAD~2"); !strings.Contains(diff, "web.yaml") {
		t.Errorf("breaking a file changed nothing: %q", diff)
	}
	web := must(t, nil, "git", "-C", repo, "show", "main:web.yaml")
	if !strings.Contains(web, "GREETING: Hello to the shop") || strings.Contains(web, "count: two") {
		t.Errorf("in the end web.yaml is\n%s", web)
	}
}
