package drivertest_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestResource(t *testing.T) {
	e := &memory.Engine{Seed: 1}
	fresh := func() drivers.Driver {
		return &memory.Driver{Engine: e, Env: "env-1", Fingerprint: drivertest.Fingerprint}
	}
	want := drivers.Desired{Spec: json.RawMessage(`{"class":"a","value":1}`)}
	r := drivertest.NewResource(t, fresh(), memory.KindThing, "web", want)
	made := r.Settle(schema.Create)
	if r.Item.Last == nil || r.Item.Last.Version != made.Version || r.Item.Last.Handle != made.Handle {
		t.Fatalf("it keeps %+v of %+v", r.Item.Last, made)
	}
	r.Driver = fresh()
	want.Spec = json.RawMessage(`{"class":"a","value":2}`)
	r.Item.Want = &want
	r.Settle(schema.Update)
	r.Item.Want = nil
	r.Settle(schema.Delete)
	if r.Observe().Exists {
		t.Fatal("it lives still")
	}
}

// errorCounter counts the errors of a test that is to fail.
type errorCounter struct {
	testing.TB
	errors int
}

func (c *errorCounter) Errorf(string, ...any) { c.errors++ }

func TestNowhere(t *testing.T) {
	const plaintext = "c4n4ry/p4ss&word"
	dir := t.TempDir()
	for name, text := range map[string]string{
		"deep/clean": "nothing to see", "deep/plain": "a " + plaintext + " b",
		"json": string(drivertest.JSON(t, plaintext)), "base64": base64.StdEncoding.EncodeToString([]byte("user:" + plaintext)),
	} {
		path := filepath.Join(dir, name)
		drivertest.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		drivertest.Must(t, os.WriteFile(path, []byte(text), 0o600))
		c := &errorCounter{TB: t}
		if n := drivertest.Nowhere(c, path, plaintext); n != 1 || (c.errors == 0) != (name == "deep/clean") {
			t.Errorf("%s: %d files read, %d errors", name, n, c.errors)
		}
	}
	if n := drivertest.Nowhere(&errorCounter{TB: t}, dir, plaintext); n != 4 {
		t.Errorf("%d files were read", n)
	}
}

func TestLog(t *testing.T) {
	var l drivertest.Log
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Logger().Debug("one")
	}()
	l.Logger().Error("two")
	<-done
	for _, word := range []string{"one", "two"} {
		if text := l.String(); !strings.Contains(text, word) {
			t.Errorf("no %q in %q", word, text)
		}
	}
}
