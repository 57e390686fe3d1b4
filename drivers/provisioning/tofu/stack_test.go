package tofu

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

func newStack(t *testing.T) (*Driver, *stack) {
	d := &Driver{Env: "env-1", Dir: t.TempDir(), Key: []byte("0123456789abcdef0123456789abcdef"), Fingerprint: drivertest.Fingerprint}
	s, err := d.stackOf("stack/a")
	drivertest.Must(t, err)
	drivertest.Must(t, records.MakeDir(s.path(stateDir)))
	return d, s
}

func TestSealedSecrets(t *testing.T) {
	d, s := newStack(t)
	const canary = "c4n4ry-that-is-sealed"
	old, next := map[string]string{"pw": "[secret:one]", "plain": "no secret"}, map[string]string{"pw": "[secret:two]"}
	drivertest.Must(t, d.seal(s, old, map[string]schema.Secret{"pw": schema.NewSecret(canary)}))
	known, err := d.unseal(s, old)
	if err != nil || known["pw"].Reveal() != canary || known["plain"].Reveal() != "no secret" {
		t.Fatalf("%d, %v", len(known), err)
	}
	if known, err := d.unseal(s, next); err != nil || len(known) != 0 {
		t.Errorf("another token opens what was sealed for one: %v", err)
	}
	if known, err := d.unseal(s, map[string]string{"other": "[secret:one]"}); err != nil || len(known) != 0 {
		t.Errorf("another variable opens what was sealed for one: %v", err)
	}
	if n := drivertest.Nowhere(t, d.Dir, canary); n != 1 {
		t.Errorf("%d files were searched", n)
	}
	foreign := *s
	foreign.name = "b"
	if _, err := d.unseal(&foreign, old); err == nil {
		t.Error("another stack opens what was sealed for one")
	}
	drivertest.Must(t, d.seal(s, next, map[string]schema.Secret{"pw": schema.NewSecret("another")}))
	drivertest.Must(t, s.prune(next))
	if known, err := d.unseal(s, old); err != nil || len(known) != 1 {
		t.Errorf("what nothing refers to stays: %v", err)
	}
	if bytes.Equal(d.derive("state", "a"), d.derive("secret", "a")) || d.passphrase(s) == d.passphrase(&foreign) {
		t.Error("two purposes have one key")
	}
}

func TestUnpack(t *testing.T) {
	_, s := newStack(t)
	module := schema.Tree{{Path: "m/main.tf", Data: []byte("one")}, {Path: "m/sub/run.sh", Data: []byte("x"), Exec: true}}
	drivertest.Must(t, s.unpack("m", module))
	before, err := os.Stat(s.path(moduleDir))
	drivertest.Must(t, err)
	drivertest.Must(t, s.put(filepath.Join(moduleDir, tfLockFile), []byte("of init")))
	drivertest.Must(t, s.unpack("m", module))
	if again, err := os.Stat(s.path(moduleDir)); err != nil || !os.SameFile(before, again) {
		t.Errorf("the same module was copied again: %v", err)
	}
	if info, err := os.Stat(s.path(moduleDir, "sub", "run.sh")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	drivertest.Must(t, s.unpack("m", module[:1]))
	if _, err := os.Stat(s.path(moduleDir, "sub")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the module has no more is left: %v", err)
	}
	for _, path := range []string{"m/../../out", "other/main.tf", "m//x", "m/"} {
		if err := s.unpack("m", schema.Tree{{Path: path}}); err == nil {
			t.Errorf("%q was written", path)
		}
	}
	if got := override(`/a"b/${c}\%{d}`); !strings.Contains(got, `path = "/a\"b/$${c}\\%%{d}"`) {
		t.Errorf("%s", got)
	}
}

func TestTornStateIsMended(t *testing.T) {
	d, s := newStack(t)
	d.setup()
	state, backup := s.path(stateDir, stateName), s.path(stateDir, stateName+".backup")
	write := func(path, text string) { drivertest.Must(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(state, "") // what a plan that was killed leaves of its lock
	if _, err := s.stateHash(); !errors.Is(err, errTorn) {
		t.Errorf("an empty state: %v", err)
	}
	if err := look(t, d, s); err != nil {
		t.Errorf("an empty state where there never was one: %v", err)
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	for _, torn := range []string{"", `{"serial": 3, "lin`} {
		write(state, torn)
		if torn == "" { // there was one
			drivertest.Must(t, s.store(recordFile, &record{Format: 1, Environment: d.Env, Name: s.name, State: "0011"}))
		}
		if _, err := s.stateHash(); !errors.Is(err, errTorn) {
			t.Errorf("%q: %v", torn, err)
		}
		if err := look(t, d, s); drivers.Class(err) != drivers.ErrWaiting || drivers.HintOf(err) == "" {
			t.Errorf("%q: %v", torn, err)
		}
	}
	write(backup, `{"serial":2}`)
	drivertest.Must(t, s.mend(d))
	if text, err := os.ReadFile(state); err != nil || string(text) != `{"serial":2}` {
		t.Errorf("mended: %s, %v", text, err)
	}
	write(state, `{"serial":3}`)
	drivertest.Must(t, s.mend(d))
	if text, _ := os.ReadFile(state); string(text) != `{"serial":3}` {
		t.Errorf("a good state was put back to %s", text)
	}
	write(state, "")
	drivertest.Must(t, os.Remove(backup))
	drivertest.Must(t, s.mend(d))
	if hash, err := s.stateHash(); hash != "" || err != nil {
		t.Errorf("of a first apply there is %q, %v", hash, err)
	}
}

// look is what is wrong at a look, for which the tool is not needed.
func look(t *testing.T, d *Driver, s *stack) error {
	t.Helper()
	return d.observe(t.Context(), drivers.Item{Handle: s.handle}).Err
}

func TestObserveRefuses(t *testing.T) {
	d, s := newStack(t)
	drivertest.Must(t, os.WriteFile(s.path(stateDir, stateName), []byte(`{}`), 0o600))
	if err := look(t, d, s); drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(err.Error(), "no record") {
		t.Errorf("a state without a record: %v", err)
	}
	rec := record{Format: 1, Environment: "another", Name: "a", Applied: json.RawMessage(`{}`)}
	drivertest.Must(t, s.store(recordFile, rec))
	if err := look(t, d, s); drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(err.Error(), "environment another") {
		t.Errorf("another's: %v", err)
	}
	rec.Environment, rec.State = "env-1", "1234"
	drivertest.Must(t, s.store(recordFile, rec))
	drivertest.Must(t, os.Remove(s.path(stateDir, stateName)))
	if err := look(t, d, s); drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(err.Error(), "its state is gone") {
		t.Errorf("a lost state: %v", err)
	}
	drivertest.Must(t, os.WriteFile(s.path(recordFile), []byte(`{"format":1`), 0o600))
	if err := look(t, d, s); !errors.Is(err, records.ErrCorrupt) {
		t.Errorf("a damaged record: %v", err)
	}
}

func TestEnvironIsItsOwn(t *testing.T) {
	d, s := newStack(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "passed-on")
	t.Setenv("TF_CLI_ARGS", "-destroy")
	t.Setenv("TF_TOKEN_example_org", "a-token")
	t.Setenv("OTHER", "x")
	d.Pass = []string{"AWS_SECRET_ACCESS_KEY", "TF_CLI_ARGS", "TF_TOKEN_example_org", "NOT_SET"}
	plain, secret, err := d.environ(&tool{opentofu: true}, s, map[string]schema.Secret{"pw": schema.NewSecret("v")})
	drivertest.Must(t, err)
	var names []string
	for name := range secret {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"AWS_SECRET_ACCESS_KEY", "TF_ENCRYPTION", "TF_TOKEN_example_org", "TF_VAR_pw"}) {
		t.Errorf("%q", names)
	}
	for _, v := range plain {
		if strings.HasPrefix(v, "OTHER=") || strings.Contains(v, "passed-on") || strings.HasPrefix(v, "TF_CLI_ARGS") {
			t.Errorf("it inherits %s", v)
		}
	}
	if _, secret, err := d.environ(&tool{}, s, nil); err != nil || secret["TF_ENCRYPTION"].Reveal() != "" {
		t.Errorf("Terraform is told to encrypt: %v", err)
	}
}

func TestKeptTrees(t *testing.T) {
	_, s := newStack(t)
	one, two := schema.Tree{{Path: "m/a.tf", Data: []byte("1")}}, schema.Tree{{Path: "m/a.tf", Data: []byte("2")}}
	drivertest.Must(t, s.keepTree(one))
	drivertest.Must(t, s.keepTree(two))
	drivertest.Must(t, s.put(planPrefix+"x", nil))
	drivertest.Must(t, s.store(recordFile, record{Format: 1, Environment: "env-1", Name: "a", Files: one.Hash()}))
	drivertest.Must(t, s.sweep())
	if got, err := s.tree(one.Hash()); err != nil || got.Hash() != one.Hash() {
		t.Errorf("%v", err)
	}
	if _, err := s.tree(two.Hash()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not needed stays: %v", err)
	}
	if s.hasPlan(planPrefix + "x") {
		t.Error("a plan that is not needed stays")
	}
	drivertest.Must(t, os.WriteFile(s.path(one.Hash()+treeSuffix), []byte(`[{"path":"m/a.tf","data":"Mg=="}]`), 0o600))
	if _, err := s.tree(one.Hash()); !errors.Is(err, records.ErrCorrupt) {
		t.Errorf("another module was taken: %v", err)
	}
}
