package detached

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzRunFolder: whatever stands in the files of a run, it is in a state that
// its files bear out, or that is not known and an error.
func FuzzRunFolder(f *testing.F) {
	good := `{"argv":["true"],"dir":"/"}`
	f.Add(good, `{"boot":"x","shim":{"pid":1},"child":{"pid":1,"start":1},"begun":"2026-11-28T12:00:00Z"}`, `{"code":1,"at":"2026-11-28T12:00:01Z"}`)
	f.Add(good, `{"begun":"2026-11-28T12:00:00Z"}`, ``)
	f.Add(`{`, `{`, `{`)
	f.Add(good, `null`, `{"code":-1,"signal":"KILL","lost":true,"error":"\u001b[31m"}`)
	f.Fuzz(func(t *testing.T, spec, record, exit string) {
		dir := t.TempDir()
		for name, text := range map[string]string{specFile: spec, recordFile: record, exitFile: exit} {
			if text == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Open(dir)
		if err != nil {
			if spec != "" {
				t.Fatal(err)
			}
			return
		}
		if got, err := r.Spec(); err == nil && !json.Valid([]byte(spec)) {
			t.Fatalf("%q is %+v", spec, got)
		}
		st, err := r.Status()
		if err != nil {
			return
		}
		switch {
		case !slices.Contains([]State{Prepared, Exited, Orphaned, Lost}, st.State):
			t.Fatalf("nobody runs it, and it is %q", st.State)
		case (st.State == Exited) != (exit != ""):
			t.Fatalf("with the exit %q it is %q", exit, st.State)
		case exit != "" && !json.Valid([]byte(exit)), record != "" && !json.Valid([]byte(record)):
			t.Fatalf("of %q and %q it is %+v", record, exit, st)
		case st.State == Prepared && !st.Begun.IsZero(), st.State == Lost && st.Begun.IsZero():
			t.Fatalf("begun at %s it is %q", st.Begun, st.State)
		}
		_ = st.Exit.String()
	})
}
