package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func content(t testing.TB, path, text, mode string) drivers.Desired {
	return drivers.Desired{Spec: spec(t, map[string]any{"path": path, "content": text, "mode": mode, "vars": map[string]any{}})}
}

func readFile(t testing.TB, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFileLives(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, FileKind, "motd", content(t, "etc/motd", "hello", "0640"))
	w.settle(schema.Create)
	if got := readFile(t, d.Root, "etc/motd"); got != "hello" {
		t.Fatalf("content %q", got)
	}
	next := content(t, "etc/motd", "hello again", "0600")
	w.item.Want = &next
	w.settle(schema.Update)
	if got := readFile(t, d.Root, "etc/motd"); got != "hello again" {
		t.Fatalf("content %q", got)
	}
	w.item.Want = nil
	w.settle(schema.Delete)
	if _, err := os.Lstat(filepath.Join(d.Root, "etc")); !os.IsNotExist(err) {
		t.Fatalf("the folder that was made for the file is still there: %v", err)
	}
}

func TestPortLives(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, PortKind, "web", drivers.Desired{Spec: spec(t, map[string]any{"host": "127.0.0.1"})})
	s := w.settle(schema.Create)
	before := string(s.Outputs["port"].Value)
	again := newDriver(t)
	again.Dir = d.Dir
	w.d = again
	if got := string(w.observe().Outputs["port"].Value); got != before || got == "" {
		t.Fatalf("after a restart the port is %q, was %q", got, before)
	}
	w.item.Want = nil
	w.settle(schema.Delete)
}
