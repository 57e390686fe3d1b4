package local

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		Driver: "secret/local", Env: "env-1", Fingerprint: fingerprint, Open: openEngine,
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

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func openEngine(t *testing.T) *drivertest.Engine {
	base := newDriver(t)
	log := &safeBuffer{}
	logger := logrus.New()
	logger.SetOutput(log)
	logger.SetLevel(logrus.TraceLevel)
	fresh := func() *Driver { return &Driver{Env: base.Env, Dir: base.Dir, Fingerprint: fingerprint, Log: logger} }
	record := func(handle string) string {
		return filepath.Join(base.Dir, "secrets", strings.TrimPrefix(handle, prefix)+".json")
	}
	mark := func(t *testing.T, handle, owner string) {
		editRecord(t, record(handle), func(r map[string]any) { r["environment"] = owner })
	}
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return fresh() },
		Create: func(t *testing.T, _ drivertest.Sample, handle, spec, owner string) string {
			w := newWorld(t, fresh(), Kind, strings.TrimPrefix(handle, prefix), drivers.Desired{Spec: json.RawMessage(spec)})
			_, err := w.apply(w.plan())
			must(t, err)
			mark(t, handle, owner)
			return handle
		},
		Edit: func(t *testing.T, handle, spec string) {
			editRecord(t, record(handle), func(r map[string]any) {
				s := map[string]any{}
				must(t, json.Unmarshal([]byte(spec), &s))
				r["spec"] = s
			})
		},
		Delete:  func(t *testing.T, handle string) { must(t, os.Remove(record(handle))) },
		Mark:    mark,
		Log:     log.String,
		Private: []string{base.Dir},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// editRecord meddles as a careless hand does: in place, and not durably.
func editRecord(t testing.TB, path string, change func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	var r map[string]any
	must(t, json.Unmarshal(data, &r))
	change(r)
	data, err = json.Marshal(r)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
}
