package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/gittest"
)

// TestOffline: what a server told is read again without it, from where it was
// fetched to.
func TestOffline(t *testing.T) {
	root := t.TempDir()
	work, bare := gittest.New(t), gittest.Bare(t, root, "platform.git")
	work.Commit("one", "templates/t.cue", "package templates\n")
	work.Git("push", "-q", bare.Dir, "main")
	const token = "c4nary-t0ken"
	server := gittest.ServeHTTPS(t, root, token)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &folder{path: t.TempDir()}
	u := under{templates: &config.Source{Git: server.URL + "/platform.git", Branch: "main", Path: "templates", TokenFile: file, CAFile: server.CAFile}}
	c := &closers{}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	before, err := u.offline(t.Context(), f.path, c)
	if err != nil || !before.blind || len(before.unchecked) != 1 {
		t.Fatalf("nothing was fetched yet: %+v, %v", before, err)
	}
	log := logrus.New()
	log.SetOutput(t.Output())
	templates, policies, err := u.open(f, opening{}, c, log)
	if err != nil || templates.Source == nil || policies.Source != nil {
		t.Fatalf("%+v, %+v, %v", templates, policies, err)
	}
	rev, err := templates.Source.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snap, err := templates.Source.Fetch(t.Context(), rev)
	if err != nil {
		t.Fatal(err)
	}
	c.add(snap.Close)
	u.templates.TokenFile = filepath.Join(t.TempDir(), "none") // it would not be let in
	after, err := u.offline(t.Context(), f.path, c)
	if err != nil || after.blind || len(after.unchecked) != 0 {
		t.Fatalf("%+v, %v", after, err)
	}
	if b, err := fs.ReadFile(after.Templates.FS, "t.cue"); err != nil || string(b) != "package templates\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestValueOf(t *testing.T) {
	for text, want := range map[string]string{
		"a=b": `"b"`, "a=": `""`, "a=2": "2", "a=true": "true", "a=null": "null", `a="2"`: `"2"`, "a=b=c": `"b=c"`,
		"a=[1]": `"[1]"`, "a={}": `"{}"`, "a=1e": `"1e"`, "a= 2": "2",
	} {
		if key, got, err := valueOf(text); key != "a" || string(got) != want || err != nil {
			t.Errorf("%s is %s=%s, %v", text, key, got, err)
		}
	}
	for _, text := range []string{"", "a", "=b", "a-b=c", "1=2"} {
		if key, got, err := valueOf(text); err == nil {
			t.Errorf("%q is %s=%s", text, key, got)
		}
	}
}
