package local

import (
	"bytes"
	"encoding/json"
	"testing"

	"filippo.io/age"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"environment":"e","name":"x","spec":{"length":24},"version":1,"made":"2026-01-01T00:00:00Z","rotate":"1h","fingerprint":"f","sealed":"AAAA"}`))
	f.Add([]byte(`{"format":1,"name":"x","spec":null}`))
	d := newDriver(f)
	d.setup()
	want := generated(f, nil)
	item := drivers.Item{ID: schema.ID{Kind: Kind, Name: "x"}, Handle: "secret/x", Want: &want, Last: &drivers.Applied{}}
	key, err := age.GenerateX25519Identity()
	drivertest.Must(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if json.Unmarshal(data, &r) != nil || checkRecord("x", &r) != nil {
			return
		}
		state, err := d.state("secret/x", records.Record[record]{Value: &r, Token: "t"})
		drivertest.Must(t, err)
		if !json.Valid(state.Spec) || state.Outputs["value"].Value != nil {
			t.Fatalf("%+v", state)
		}
		if _, err := d.Plan(t.Context(), item, state); err != nil && drivers.Class(err) != drivers.ErrPermanent {
			t.Fatal(err)
		}
		if _, err := decrypt(bytes.NewReader(r.Sealed), key, MaxSecret); err == nil {
			t.Fatal("a value that was never sealed was opened")
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
