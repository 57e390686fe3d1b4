package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		Driver: "provisioning/local", Env: "env-1", Fingerprint: drivertest.Fingerprint, Open: openEngine,
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

func openEngine(t *testing.T) *drivertest.Engine {
	base := newDriver(t)
	base.Poll = 20 * time.Millisecond
	log := &drivertest.Log{}
	fresh := func() *Driver {
		return &Driver{Env: base.Env, Root: base.Root, Dir: base.Dir, Fingerprint: drivertest.Fingerprint, Poll: base.Poll, Log: log.Logger()}
	}
	record := func(handle string) string {
		return filepath.Join(base.Dir, "ports", strings.TrimPrefix(handle, portPrefix)+".json")
	}
	file := func(handle string) string { return filepath.Join(base.Root, strings.TrimPrefix(handle, filePrefix)) }
	mark := func(t *testing.T, handle, owner string) {
		drivertest.EditJSON(t, record(handle), func(r map[string]any) { r["environment"] = owner })
	}
	edit := func(t *testing.T, handle, spec string) {
		var s struct{ Host, Content, Mode string }
		drivertest.Must(t, json.Unmarshal([]byte(spec), &s))
		if strings.HasPrefix(handle, portPrefix) {
			drivertest.EditJSON(t, record(handle), func(r map[string]any) { r["host"] = s.Host })
			return
		}
		meddle(t, file(handle), s.Content, s.Mode)
	}
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return fresh() },
		Create: func(t *testing.T, s drivertest.Sample, handle, spec, owner string) string {
			if s.Kind == FileKind {
				drivertest.Must(t, os.MkdirAll(filepath.Dir(file(handle)), 0o755))
				edit(t, handle, spec)
				return handle
			}
			r := drivertest.NewResource(t, fresh(), PortKind, strings.TrimPrefix(handle, portPrefix), drivers.Desired{Spec: json.RawMessage(spec)})
			_, err := r.Apply(r.Plan())
			drivertest.Must(t, err)
			mark(t, handle, owner)
			return handle
		},
		Edit: edit,
		Delete: func(t *testing.T, handle string) {
			if strings.HasPrefix(handle, portPrefix) {
				drivertest.Must(t, os.Remove(record(handle)))
				return
			}
			drivertest.Must(t, os.Remove(file(handle)))
		},
		Mark:    mark,
		Log:     log.String,
		Private: []string{base.Dir},
	}
}

// meddle writes as a careless hand does: in place, and not durably.
func meddle(t testing.TB, path, content, mode string) {
	t.Helper()
	drivertest.Must(t, os.WriteFile(path, []byte(content), 0o644))
	var bits os.FileMode
	_, err := fmt.Sscanf(mode, "%o", &bits)
	drivertest.Must(t, err)
	drivertest.Must(t, os.Chmod(path, bits))
}
