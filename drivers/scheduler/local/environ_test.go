package local

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

func TestNothingOfTheDaemonIsInherited(t *testing.T) {
	t.Setenv("DAEMON_TOKEN", "s3same")
	t.Setenv("LANG", "eo.UTF-8")
	b := newBench(t)
	b.want(program("stay"), `"env":{"OWN":true,"N":3.50}`)
	b.turn(schema.Create)
	text, err := os.ReadFile("/proc/" + itoa(b.pids()[0]) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	environ := strings.Split(string(text), "\x00")
	for _, want := range []string{"LANG=eo.UTF-8", "OWN=true", "N=3.50", "APLOMB_ENVIRONMENT=" + b.d.Env, "APLOMB_NAME=web", "APLOMB_INSTANCE=0"} {
		if !slices.Contains(environ, want) {
			t.Errorf("%s is missing in %q", want, environ)
		}
	}
	if strings.Contains(string(text), "s3same") {
		t.Errorf("a secret of the daemon is in %q", environ)
	}
}

func TestTooLargeIsRefusedBefore(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"env":{"BIG":"`+strings.Repeat("x", 300<<10)+`"}`)
	if _, err := b.d.Apply(t.Context(), b.plan()); err == nil {
		t.Fatal("it was taken")
	}
	if b.look().Exists {
		t.Fatal("something was written")
	}
}
