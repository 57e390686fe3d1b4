package records

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type thing struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func newFolder(t testing.TB) *Folder[thing] {
	return &Folder[thing]{Dir: filepath.Join(t.TempDir(), "deep", "things"), Check: func(name string, v *thing) error {
		if v.Name != name {
			return fmt.Errorf("it is the record of %q", v.Name)
		}
		return nil
	}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsLive(t *testing.T) {
	f := newFolder(t)
	if names, err := f.Names(); err != nil || len(names) > 0 {
		t.Fatalf("%q %v", names, err)
	}
	if _, err := f.Get("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	one, err := f.Create("a", thing{"a", 1})
	must(t, err)
	if _, err := f.Create("a", thing{"a", 2}); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("made twice: %v", err)
	}
	two, err := f.Replace("a", thing{"a", 2})
	must(t, err)
	again, err := (&Folder[thing]{Dir: f.Dir}).Get("a")
	must(t, err)
	if again.Value.N != 2 || again.Token != two.Token || one.Token == two.Token {
		t.Fatalf("%+v, tokens %s %s %s", again.Value, one.Token, two.Token, again.Token)
	}
	for path, mode := range map[string]fs.FileMode{f.Dir: 0o700, f.Path("a"): 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	must(t, os.WriteFile(filepath.Join(f.Dir, "notes.txt"), nil, 0o600))
	if names, err := f.Names(); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Fatalf("%q %v", names, err)
	}
	must(t, f.Delete("a"))
	must(t, f.Delete("a"))
	if _, err := f.Get("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	f := newFolder(t)
	_, err := f.Create("a", thing{"a", 1})
	must(t, err)
	for _, bad := range []string{"", "{", "[]", `{"name":"b","n":1}`, `{"name":"a","n":1,"more":2}`, `{"name":"a"}{}`, `{"name":"a"` + strings.Repeat(" ", MaxSize) + `}`} {
		must(t, os.WriteFile(f.Path("a"), []byte(bad), 0o600))
		if _, err := f.Get("a"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	if _, err := f.Replace("a", thing{"b", 1}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a record that Check refuses was written: %v", err)
	}
	_, err = f.Replace("a", thing{"a", 3})
	must(t, err)
	r, err := f.Get("a")
	if err != nil || r.Value.N != 3 {
		t.Fatalf("%+v %v", r.Value, err)
	}
}

// A change in place, of the same size and within one tick of the clock, is
// read all the same.
func TestQuickChange(t *testing.T) {
	f := newFolder(t)
	_, err := f.Create("a", thing{"a", 100})
	must(t, err)
	for i := range 100 {
		must(t, os.WriteFile(f.Path("a"), fmt.Appendf(nil, `{"name":"a","n":%d}`, 100+i), 0o600))
		if r, err := f.Get("a"); err != nil || r.Value.N != 100+i {
			t.Fatalf("%+v %v, want %d", r.Value, err, 100+i)
		}
	}
}

// What has not changed for a while is not read again.
func TestCache(t *testing.T) {
	f := newFolder(t)
	_, err := f.Create("a", thing{"a", 1})
	must(t, err)
	past := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(f.Path("a"), past, past))
	limit, tick := time.NewTimer(10*time.Second), time.NewTicker(10*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for {
		one, err := f.Get("a")
		must(t, err)
		two, err := f.Get("a")
		must(t, err)
		if one.Value == two.Value {
			return // the very same: from memory
		}
		select {
		case <-tick.C: // its ctime is still fresh
		case <-limit.C:
			t.Fatal("it is read every time")
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","n":1}`))
	f.Add([]byte(`{"name":"a","n":1}{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := (&Folder[thing]{}).parse("a", data)
		if err != nil && !errors.Is(err, ErrCorrupt) || err == nil && (r.Value == nil || r.Token == "") {
			t.Fatalf("%+v %v", r, err)
		}
	})
}
