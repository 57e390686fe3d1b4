package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		Driver: "provisioning/local", Env: "env-1", Fingerprint: fingerprint, Open: openEngine,
		Samples: []drivertest.Sample{
			{
				Kind: FileKind,
				A:    `{"content":"hello","mode":"0644","path":"etc/$NAME.conf","vars":{}}`,
				B:    `{"content":"hello, all","mode":"0600","path":"etc/$NAME.conf","vars":{}}`,
				D:    `{"content":"meddled with","mode":"0666","path":"etc/$NAME.conf","vars":{}}`,
				P:    `{"content":"hello","mode":"0644","path":"pinned","vars":{}}`,
				X:    `{"content":"hello","mode":"0999","path":"etc/$NAME.conf","vars":{}}`,

				Unknown: "/content", Secret: "/content", Outputs: []string{"path", "version"},
			},
			{
				Kind: PortKind,
				A:    `{"host":"127.0.0.1"}`,
				B:    `{"host":"127.0.0.2"}`,
				X:    `{"host":"no address at all"}`,

				Unknown: "/host", Outputs: []string{"port", "address"}, Marks: true,
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
	base.Poll = 20 * time.Millisecond
	log := &safeBuffer{}
	logger := logrus.New()
	logger.SetOutput(log)
	logger.SetLevel(logrus.TraceLevel)
	fresh := func() *Driver {
		return &Driver{Env: base.Env, Root: base.Root, Dir: base.Dir, Fingerprint: fingerprint, Poll: base.Poll, Log: logger}
	}
	record := func(handle string) string {
		return filepath.Join(base.Dir, "ports", strings.TrimPrefix(handle, portPrefix)+".json")
	}
	file := func(handle string) string { return filepath.Join(base.Root, strings.TrimPrefix(handle, filePrefix)) }
	edit := func(t *testing.T, handle, spec string) {
		var s struct{ Host, Content, Mode string }
		must(t, json.Unmarshal([]byte(spec), &s))
		if strings.HasPrefix(handle, portPrefix) {
			editRecord(t, record(handle), func(r map[string]any) { r["host"] = s.Host })
			return
		}
		meddle(t, file(handle), s.Content, s.Mode)
	}
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return fresh() },
		Create: func(t *testing.T, s drivertest.Sample, handle, spec, owner string) string {
			if s.Kind == FileKind {
				must(t, os.MkdirAll(filepath.Dir(file(handle)), 0o755))
				edit(t, handle, spec)
				return handle
			}
			w := newWorld(t, fresh(), PortKind, strings.TrimPrefix(handle, portPrefix), drivers.Desired{Spec: json.RawMessage(spec)})
			_, err := w.apply(w.plan())
			must(t, err)
			editRecord(t, record(handle), func(r map[string]any) { r["environment"] = owner })
			return handle
		},
		Edit: edit,
		Delete: func(t *testing.T, handle string) {
			if strings.HasPrefix(handle, portPrefix) {
				must(t, os.Remove(record(handle)))
				return
			}
			must(t, os.Remove(file(handle)))
		},
		Mark: func(t *testing.T, handle, owner string) {
			editRecord(t, record(handle), func(r map[string]any) { r["environment"] = owner })
		},
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

// meddle writes as a careless hand does: in place, and not durably.
func meddle(t testing.TB, path, content, mode string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
	var bits os.FileMode
	_, err := fmt.Sscanf(mode, "%o", &bits)
	must(t, err)
	must(t, os.Chmod(path, bits))
}

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
