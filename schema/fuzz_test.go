package schema_test

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// FuzzID: an identity that is read is written as it was, and fits where names
// are put together: a line, a file's name, a table.
func FuzzID(f *testing.F) {
	for _, seed := range []string{"local.file/a", "local.file/a@eu", "WebService/a", "a/b@", "a//b", "local.file/a@eu@us", "local.file/a\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := schema.ParseID(s)
		if err != nil {
			return
		}
		if id.String() != s {
			t.Fatalf("%q is %+v", s, id)
		}
		if strings.ContainsAny(id.Name+id.Target, "/@. \n\x00") || id.Name == "" || !schema.ValidKind(id.Kind) {
			t.Fatalf("%q names %+v", s, id)
		}
	})
}

// FuzzSteps: a path is taken apart into what it was made of, whatever keys are
// called, and lies below what it was begun with.
func FuzzSteps(f *testing.F) {
	f.Add("group", "a/b", "~1", 3)
	f.Add("", "~0~1/", "0", 0)
	f.Fuzz(func(t *testing.T, a, b, c string, i int) {
		if i < 0 {
			i = 0
		}
		whole := schema.Path("").Child(a).Child(b)
		path := whole.Index(i).Child(c)
		steps := path.Steps()
		if len(steps) != 4 || steps[0] != a || steps[1] != b || steps[3] != c {
			t.Fatalf("%q, %q, %d, %q became %q", a, b, i, c, steps)
		}
		if !path.Within(whole) || !path.Within(path) || whole.Within(path) {
			t.Fatalf("%q and %q", path, whole)
		}
		_ = path.String()
	})
}
