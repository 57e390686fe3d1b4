package store_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// holdEnv lets this test binary, started again, open a store and hold it until
// its standard input ends.
const holdEnv = "STORE_TEST_HOLD"

func TestMain(m *testing.M) {
	path := os.Getenv(holdEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	s, err := store.Open(path, "env-1")
	if err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString("open\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	_ = s.Close()
	os.Exit(0)
}

// refused demands an error of a class that can be told.
func refused(t *testing.T, path, environment string, class error) {
	t.Helper()
	s, err := store.Open(path, environment)
	if err == nil {
		_ = s.Close()
	}
	var own *store.Error
	if !errors.Is(err, class) || !errors.As(err, &own) || own.Path != path || own.Hint == "" {
		t.Errorf("%v, want %v with path and hint", err, class)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	refused(t, path, "env-1", store.ErrLocked)
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("a"): intent("a")}, nil)) // whoever has it goes on
	must(t, s.Close())
	open(t, path)
}

func TestLockedByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	refused(t, path, "env-1", store.ErrLocked)
	must(t, stdin.Close())
	must(t, cmd.Wait())
	open(t, path)
}

func TestForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("a"): intent("a")}, nil))
	must(t, s.Close())
	refused(t, path, "env-2", store.ErrForeign)
	if w := load(t, open(t, path)); len(w.Intents) != 1 {
		t.Error("being refused altered it")
	}
}

func TestNoFolder(t *testing.T) {
	_, err := store.Open(filepath.Join(t.TempDir(), "none", "store.db"), "env-1")
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

// TestHoldsNoSecret: no stored type has room for a plaintext.
func TestHoldsNoSecret(t *testing.T) {
	secret := reflect.TypeFor[schema.Secret]()
	seen := map[reflect.Type]bool{}
	var walk func(at string, typ reflect.Type)
	walk = func(at string, typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(at, typ.Elem())
		case reflect.Map:
			walk(at, typ.Key())
			walk(at, typ.Elem())
		case reflect.Interface:
			t.Errorf("%s may hold anything", at)
		case reflect.Struct:
			if typ == secret {
				t.Errorf("%s holds a secret", at)
			}
			if typ.PkgPath() == "time" {
				return
			}
			for i := range typ.NumField() {
				walk(at+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[store.World](), reflect.TypeFor[store.Entry]()} {
		walk(typ.Name(), typ)
	}
	if !seen[reflect.TypeFor[store.Owned]()] || !seen[reflect.TypeFor[schema.ID]()] {
		t.Error("the walk has not been everywhere")
	}
}
