package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

const canary = "c4n4ry/p4ss&word"

func TestSecrets(t *testing.T) {
	b := newBench(t)
	secret := func(token string) {
		b.want(program("leak", "KEY"), `"env":{"KEY":"`+token+`"}`)
		b.it.Want.Secrets = map[schema.Path]string{"/env/KEY": "@{local.secret/x.value}"}
	}
	apply := func(c drivers.Change, value string) {
		t.Helper()
		c.Secrets = map[schema.Path]schema.Secret{"/env/KEY": schema.NewSecret(value)}
		if _, err := b.d.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	log := func(text string) {
		t.Helper()
		b.eventually("output "+text, func() bool {
			var out bytes.Buffer
			if err := b.d.Logs(t.Context(), b.it.Handle, LogOptions{Lines: 1}, &out); err != nil {
				t.Fatal(err)
			}
			return out.String() == text+"\n"
		})
	}
	secret(schema.Token("f1"))
	c := b.plan()
	if _, err := b.d.Apply(t.Context(), c); !errors.Is(err, drivers.ErrPermanent) {
		t.Fatalf("without the secret: %v", err)
	}
	if b.look().Exists {
		t.Fatal("something was written")
	}
	apply(c, canary)
	b.healthy()
	b.settled()
	log("length 16")
	if s := string(b.look().Spec); !strings.Contains(s, schema.Token("f1")) {
		t.Errorf("spec %s", s)
	}
	before := b.pids()[0]
	secret(schema.Token("f2"))
	if c = b.plan(); c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != "/env/KEY" {
		t.Fatalf("got %+v", c)
	}
	apply(c, canary+"2")
	log("length 17")
	if b.pids()[0] == before {
		t.Error("a rotation left it running")
	}
	if n := drivertest.Nowhere(t, b.d.Dir, canary); n < 5 {
		t.Errorf("only %d files were read", n)
	}
}

func TestWorkingFolder(t *testing.T) {
	b := newBench(t)
	if err := os.MkdirAll(b.d.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(b.d.Root, "away")); err != nil {
		t.Fatal(err)
	}
	b.want(program("stay"), `"dir":"a/b"`)
	b.turn(schema.Create)
	want := filepath.Join(b.d.Root, "a/b")
	if got, err := os.Readlink("/proc/" + itoa(b.pids()[0]) + "/cwd"); err != nil || got != want {
		t.Errorf("it runs in %s, %v; want %s", got, err, want)
	}
	if out := string(b.look().Outputs["dir"].Value); out != `"`+want+`"` {
		t.Errorf("output dir is %s", out)
	}
	for _, dir := range []string{"../x", "/etc", "away", "away/x"} {
		b.want(program("stay"), `"dir":"`+dir+`"`)
		c, err := b.d.Plan(t.Context(), *b.it, b.look())
		if err == nil {
			_, err = b.d.Apply(t.Context(), c)
		}
		if err == nil {
			t.Errorf("dir %s was taken", dir)
		}
	}
}

func TestLogs(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":2`)
	b.turn(schema.Create)
	b.eventually("output", func() bool {
		var out bytes.Buffer
		if err := b.d.Logs(t.Context(), b.it.Handle, LogOptions{Instance: 1, Lines: 5}, &out); err != nil {
			t.Fatal(err)
		}
		return out.String() == "up 1\n"
	})
	for _, o := range []LogOptions{{Instance: 2}, {Instance: -1}} {
		if err := b.d.Logs(t.Context(), b.it.Handle, o, &bytes.Buffer{}); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if err := b.d.Logs(t.Context(), "process/../x", LogOptions{}, &bytes.Buffer{}); err == nil {
		t.Error("a handle that is none was taken")
	}
}
