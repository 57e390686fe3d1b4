package local

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func FuzzPath(f *testing.F) {
	for _, s := range []string{"a/b", "/r/a", "/allowed/x", "../x", "a/../../b", "/r/../etc/passwd", "data/x", "@{a/b.c}", "a\x00", "/allowed/../r/data/x"} {
		f.Add(s)
	}
	d := &Driver{Root: "/r", Dir: "/r/data", Allow: []string{"/allowed"}}
	f.Fuzz(func(t *testing.T, p string) {
		handle, err := d.fileAddress(drivertest.JSON(t, map[string]any{"path": p}))
		if err != nil {
			return
		}
		where, err := d.place(handle)
		if err != nil {
			t.Fatalf("%q has the handle %q and no place: %v", p, handle, err)
		}
		abs := where.abs()
		inside := strings.HasPrefix(abs, "/r/") || strings.HasPrefix(abs, "/allowed/")
		if !inside || strings.HasPrefix(abs+"/", "/r/data/") || abs != filepath.Clean(abs) {
			t.Fatalf("%q is at %q", p, abs)
		}
		again, err := d.fileAddress(drivertest.JSON(t, map[string]any{"path": strings.TrimPrefix(handle, filePrefix)}))
		if err != nil || again != handle {
			t.Fatalf("%q is %q, then %q: %v", p, handle, again, err)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{{.A}}", "{{range $i := .N}}{{$i}}{{end}}", `{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`, `{{printf "%*d" .N .N}}`, "{{break}}", "{{with .A}}{{.}}{{else}}{{end}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 4096 {
			return
		}
		vars := map[string]any{"A": "canary-text", "N": int64(1000)}
		out, err := execute(schema.File{Path: "t", Data: []byte(body)}, vars, true)
		if len(out) > MaxFile {
			t.Fatalf("%d bytes", len(out))
		}
		if err != nil && strings.Contains(err.Error(), "canary-text") && !strings.Contains(body, "canary-text") {
			t.Fatalf("the error repeats a value: %v", err)
		}
	})
}

func FuzzSockets(f *testing.F) {
	f.Add([]byte("   0: 0100007F:20E5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1\n"))
	f.Add([]byte("   2: 00000000000000000000000001000000:0050 0:0 0A 0 0 0 0 0 43 1"))
	f.Fuzz(func(t *testing.T, table []byte) {
		all, err := parseSockets(bytes.NewReader(table))
		if err != nil {
			return
		}
		for _, l := range all {
			if !l.addr.IsValid() || l.port < 0 || l.port > 65535 {
				t.Fatalf("%+v", l)
			}
		}
	})
}
