package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// TestTargets: each target gets what its engine is known for, and is decorated
// as one that is reached over a network has to be.
func TestTargets(t *testing.T) {
	known := engines["nomad"]
	known.make = func(w wiring) (engine, error) {
		return engine{driver: &memory.Driver{Engine: &memory.Engine{}, Env: w.folder.ID}, kinds: memory.Kinds(), version: "7"}, nil
	}
	engines["remote"] = known
	defer delete(engines, "remote")
	log, _ := logtest.NewNullLogger()
	all := []config.Target{
		{Name: "eu", Engine: "remote", Address: "https://eu:4646", Concurrency: 4, Resync: config.Duration(time.Minute)},
		{Name: "us", Engine: "remote", Address: "https://us:4646", Concurrency: 8},
		{Name: "here", Engine: config.Local, Concurrency: 16},
	}
	got, err := newTargets(nowhere(), make([]byte, keySize), all, &closers{}, log)
	if err != nil {
		t.Fatal(err)
	}
	eu, us, here := got.registry.Target("eu"), got.registry.Target("us"), got.registry.Target("here")
	if eu.Linger != httpLinger || eu.Resync != time.Minute || eu.Concurrency != 4 || eu.Version != "7" || eu.Identity != "remote https://eu:4646" || us.Resync != 0 {
		t.Errorf("eu: %+v", eu)
	}
	if here.Linger != 0 || here.Identity != nowhere().ID || got.local == nil {
		t.Errorf("here: %+v", here)
	}
	if l, ok := drivers.As[*drivers.Limit](eu.Driver); !ok || l.Calls != 4 {
		t.Error("calls of eu are not limited")
	}
	if _, ok := drivers.As[*drivers.Retry](eu.Driver); !ok {
		t.Error("reads of eu are not repeated")
	}
	if _, ok := drivers.As[*drivers.Limit](here.Driver); ok {
		t.Error("calls of an embedded engine are limited twice")
	}
	if _, err := eu.Driver.Observe(t.Context(), nil); err != nil || got.meters["eu"].Snapshot()["observe"].Calls != 1 || len(got.meters) != 3 {
		t.Errorf("calls of eu are not counted: %v", err)
	}
	_, err = newTargets(nowhere(), make([]byte, keySize), []config.Target{{Name: "eu", Engine: "remote", CAFile: "/nonexistent"}}, &closers{}, log)
	if err == nil || !strings.HasPrefix(err.Error(), "target eu (remote): read the authorities: ") {
		t.Errorf("an authority that is not there: %v", err)
	}
}

// TestIdentity: what digests bind to says which engine and where in it, and
// nothing of how it is reached.
func TestIdentity(t *testing.T) {
	f := nowhere()
	for _, tc := range []struct {
		target config.Target
		want   string
	}{
		{config.Target{Engine: "local", Root: "/srv"}, f.ID},
		{config.Target{Engine: "tofu", Binary: "terraform"}, f.ID},
		{config.Target{Engine: "nomad", Address: "https://eu:4646", TokenFile: "/a", Region: "eu", Namespace: "shop"}, "nomad https://eu:4646 region=eu namespace=shop"},
		{config.Target{Engine: "vault", Address: "http://v:8200", Namespace: "shop", CAFile: "/b"}, "vault http://v:8200 namespace=shop"},
	} {
		if got := identityOf(f, tc.target); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// TestConfigure: nothing that is free stays nothing; it does not become the
// default.
func TestConfigure(t *testing.T) {
	for _, tc := range []struct {
		budget config.Budget
		limit  int // of 100 that are owned
	}{{config.Budget{Deletes: 5, Share: 20}, 5}, {config.Budget{Deletes: 50, Share: 20}, 20}, {config.Budget{Deletes: 0, Share: 20}, 0}, {config.Budget{Deletes: 5, Share: 0}, 0}} {
		var cfg reconciler.Config
		if err := configure(&cfg, config.Environment{Gates: config.Gates{Budget: tc.budget}, Drift: "report", Resync: config.Duration(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if b := cfg.Gates.NewBudget(100, 0, 1); b.Limit != tc.limit || !cfg.ReportDrift || cfg.Resync != time.Hour {
			t.Errorf("%+v: %+v, want %d", tc.budget, b, tc.limit)
		}
	}
}

// TestSecretFile: a token is one line of a small file, read at each use; that
// others may read it is said once.
func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	log, hook := logtest.NewNullLogger()
	s := &secretFile{path: path, log: log}
	if _, err := s.read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for text, want := range map[string]string{"abc\n": "abc", "  abc ": "abc", "": "", "\n": "", "a\nb": "", "a\x00b": "", strings.Repeat("a", maxToken+1): ""} {
		write(text, 0o600)
		got, err := s.read()
		if got.Reveal() != want || (err == nil) != (want != "") {
			t.Errorf("%.20q is %q, %v", text, got.Reveal(), err)
		}
		if err != nil && len(text) > 1 && strings.Contains(err.Error(), text) {
			t.Errorf("the error holds what the file does: %v", err)
		}
	}
	if len(hook.Entries) != 0 {
		t.Error("of a file that only its owner can read it is said that others may")
	}
	write("abc", 0o644)
	for range 2 {
		if _, err := s.read(); err != nil {
			t.Error(err)
		}
	}
	if len(hook.Entries) != 1 || strings.Contains(hook.Entries[0].Message, "abc") {
		t.Errorf("said %d times that others may read it", len(hook.Entries))
	}
	if (&secretFile{}).orNone() != nil {
		t.Error("no file is a token")
	}
}
