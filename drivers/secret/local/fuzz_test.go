package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"environment":"e","name":"x","spec":{"length":24},"version":1,"made":"2026-01-01T00:00:00Z","rotate":"1h","fingerprint":"f","sealed":"AAAA"}`))
	f.Add([]byte(`{"format":1,"name":"x","spec":null}`))
	d := newDriver(f)
	d.setup()
	must(f, os.MkdirAll(filepath.Join(d.Dir, "secrets"), 0o700))
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(d.folder.Path("x"), data, 0o600))
		item := drivers.Item{ID: schema.ID{Kind: Kind, Name: "x"}, Handle: "secret/x", Last: &drivers.Applied{}}
		want := generated(t, nil)
		item.Want = &want
		states, err := d.Observe(t.Context(), []drivers.Item{item})
		must(t, err)
		if states[0].Err != nil {
			return
		}
		if _, err := d.Plan(t.Context(), item, states[0]); err != nil && drivers.Class(err) != drivers.ErrPermanent {
			t.Fatal(err)
		}
		if _, err := d.Reveal(t.Context(), item, "value"); err == nil {
			t.Fatal("a value that was never sealed was revealed")
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("# comment\nAGE-SECRET-KEY-1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if id, ok := parseKey(data); ok && id.Recipient().String() == "" {
			t.Fatal("an identity without a recipient")
		}
	})
}
