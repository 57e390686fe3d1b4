package local

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		Driver: "secret/local", Env: "env-1", Fingerprint: drivertest.Fingerprint, Open: openEngine,
		Samples: []drivertest.Sample{
			{
				Kind: Kind,
				A:    `{"alphabet":"alphanumeric","length":32}`,
				B:    `{"alphabet":"hex","length":48,"rotate":"720h"}`,
				X:    `{"age":"no ciphertext"}`,

				Unknown: "/length", Outputs: []string{"value", "version"}, Secrets: []string{"value"}, Marks: true,
			},
		},
	})
}

func openEngine(t *testing.T) *drivertest.Engine {
	base := newDriver(t)
	log := &drivertest.Log{}
	fresh := func() *Driver {
		return &Driver{Env: base.Env, Dir: base.Dir, Fingerprint: drivertest.Fingerprint, Log: log.Logger()}
	}
	record := func(handle string) string {
		return filepath.Join(base.Dir, "secrets", strings.TrimPrefix(handle, prefix)+".json")
	}
	mark := func(t *testing.T, handle, owner string) {
		drivertest.EditJSON(t, record(handle), func(r map[string]any) { r["environment"] = owner })
	}
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return fresh() },
		Create: func(t *testing.T, _ drivertest.Sample, handle, spec, owner string) string {
			r := drivertest.NewResource(t, fresh(), Kind, strings.TrimPrefix(handle, prefix), drivers.Desired{Spec: json.RawMessage(spec)})
			_, err := r.Apply(r.Plan())
			drivertest.Must(t, err)
			mark(t, handle, owner)
			return handle
		},
		Edit: func(t *testing.T, handle, spec string) {
			drivertest.EditJSON(t, record(handle), func(r map[string]any) {
				s := map[string]any{}
				drivertest.Must(t, json.Unmarshal([]byte(spec), &s))
				r["spec"] = s
			})
		},
		Delete:  func(t *testing.T, handle string) { drivertest.Must(t, os.Remove(record(handle))) },
		Mark:    mark,
		Log:     log.String,
		Private: []string{base.Dir},
	}
}
