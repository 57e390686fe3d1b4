package driverkit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct{ before, after, unknown, want string }{
		{`{"a":1}`, `{"a":1}`, "", ""},
		{`{"a":1}`, `{"a":1.0}`, "", ""},
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, "", "update /a 9007199254740993 9007199254740992"},
		{`{"a":1}`, `{"a":"1"}`, "", `update /a 1 "1"`},
		{`{"a":null}`, `{}`, "", "delete /a null "},
		{`{"b":1,"a":{"x":1,"y":2}}`, `{"a":{"x":1,"y":3},"c":4}`, "", "update /a/y 2 3; delete /b 1 ; create /c  4"},
		{`{"a":[1,2]}`, `{"a":[1,3]}`, "", "update /a/1 2 3"},
		{`{"a":[1,2]}`, `{"a":[1]}`, "", "update /a [1,2] [1]"},
		{`{"a":{"x":1}}`, `{"a":[1]}`, "", `update /a {"x":1} [1]`},
		{``, `{"a":{"x":1},"b":[]}`, "", `create /a  {"x":1}; create /b  []`},
		{``, `{"a":{"x":1,"y":"@{r}"}}`, "/a/y", `create /a/x  1; create /a/y  "@{r}"?`},
		{``, `{"a":[1,"@{r}"]}`, "/a/1", `create /a/0  1; create /a/1  "@{r}"?`},
		{`{"a":[1]}`, `{"a":[1,"@{r}"]}`, "/a/1", `update /a [1] [1,"@{r}"]?`},
		{`{"a":1}`, `{"a":"@{r}"}`, "/a", `update /a 1 "@{r}"?`},
		{`{"a/b":{"~":1}}`, `{"a/b":{"~":2}}`, "", "update /a~1b/~0 1 2"},
		{`{"a":"<&>"}`, `{"a":"<"}`, "", `update /a "<&>" "<"`},
	} {
		var unknown map[schema.Path]string
		if c.unknown != "" {
			unknown = map[schema.Path]string{schema.Path(c.unknown): "@{r}"}
		}
		diff, err := Diff(json.RawMessage(c.before), json.RawMessage(c.after), unknown)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range diff {
			s := fmt.Sprintf("%s %s %s %s", d.Op, string(d.Path), d.Before, d.After)
			if d.Unknown {
				s += "?"
			}
			got = append(got, s)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s -> %s:\n got %s\nwant %s", c.before, c.after, strings.Join(got, "; "), c.want)
		}
	}
}

func TestDecodeLeavesUnknownsOut(t *testing.T) {
	d := &drivers.Desired{
		Spec:    json.RawMessage(`{"port":"@{r}","tags":["a","@{r}"],"name":"x","deep":{"n":"@{r}","m":2}}`),
		Unknown: map[schema.Path]string{"/port": "@{r}", "/tags/1": "@{r}", "/deep/n": "@{r}", "/gone/x": "@{r}", "/tags/9": "@{r}"},
	}
	var v struct {
		Port int
		Tags []string
		Name string
		Deep struct{ N, M int }
	}
	if err := Decode(d, &v); err != nil || fmt.Sprint(v) != "{0 [a ] x {0 2}}" {
		t.Fatalf("%v %v", v, err)
	}
	d.Unknown = nil
	if err := Decode(d, &v); err == nil {
		t.Fatal("a text was taken for a number")
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"500ms": 500 * time.Millisecond, "5s": 5 * time.Second, "10m": 10 * time.Minute, "720h": 720 * time.Hour, "30d": 720 * time.Hour} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "-5s", "5.5s", "1h5m", " 5s", "99999999999d", "99999999999999999999s"} {
		if got, err := Duration(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestFailClasses(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }() // only read
	if err := os.Symlink("/", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	_, outside := root.Stat("out/etc")
	for name, c := range map[string]struct{ err, class error }{
		"permission": {&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, drivers.ErrDenied},
		"owner":      {&fs.PathError{Op: "open", Path: "x", Err: syscall.EPERM}, drivers.ErrDenied},
		"read-only":  {syscall.EROFS, drivers.ErrDenied},
		"full":       {syscall.ENOSPC, drivers.ErrRetryable},
		"i/o":        {syscall.EIO, drivers.ErrRetryable},
		"no folder":  {syscall.ENOTDIR, drivers.ErrPermanent},
		"outside":    {outside, drivers.ErrPermanent},
		"link":       {&os.LinkError{Op: "link", Err: errors.New("path escapes from parent")}, drivers.ErrPermanent},
		"damaged":    {fmt.Errorf("%w: x", records.ErrCorrupt), drivers.ErrPermanent},
		"cancelled":  {context.Canceled, drivers.ErrRetryable},
		"known":      {Stale("write", "x"), drivers.ErrStale},
	} {
		got := Fail("write", "x", c.err)
		if !errors.Is(got, c.class) || !errors.Is(got, errors.Unwrap(c.err)) && errors.Unwrap(c.err) != nil {
			t.Errorf("%s: %v is of class %v", name, got, drivers.Class(got))
		}
	}
	if Fail("write", "x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestLocks(t *testing.T) {
	var l Locks
	var wg sync.WaitGroup
	counts := make([]int, 4)
	for i := range 400 {
		wg.Go(func() {
			defer l.Lock(fmt.Sprint(i % 4))()
			counts[i%4]++ // the race detector sees it if the lock does not hold
		})
	}
	wg.Wait()
	if fmt.Sprint(counts) != "[100 100 100 100]" || len(l.held) != 0 {
		t.Fatalf("%v, %d locks left", counts, len(l.held))
	}
}

func TestDecide(t *testing.T) {
	last := &drivers.Applied{Version: "1"}
	diff := []drivers.Delta{{Path: "/b"}, {Path: "/a"}}
	for name, c := range map[string]struct {
		last   *drivers.Applied
		exists bool
		ours   bool
		diff   []drivers.Delta
		want   schema.Action
	}{
		"new": {nil, false, false, diff, schema.Create}, "gone": {last, false, true, diff, schema.Create},
		"theirs": {nil, true, false, nil, schema.Adopt}, "same": {last, true, true, nil, schema.None}, "drift": {last, true, true, diff, schema.Update},
	} {
		change := drivers.Change{Diff: c.diff}
		Decide(&change, drivers.Item{Last: c.last}, drivers.State{Exists: c.exists, Version: "2"}, c.ours)
		if change.Action != c.want || len(change.Diff) > 1 && change.Diff[0].Path != "/a" {
			t.Errorf("%s: %s", name, change.Action)
		}
	}
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":2}]}`), []byte(`{"a":[1,{"b":3}],"c":null}`))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		diff, err := Diff(before, after, nil)
		if err != nil {
			return
		}
		same, err := Diff(after, after, nil)
		if err != nil || len(same) > 0 {
			t.Fatalf("%s differs from itself: %+v %v", after, same, err)
		}
		for i, d := range diff {
			if i > 0 && diff[i-1].Path > d.Path {
				t.Fatalf("not in order: %+v", diff)
			}
		}
	})
}
