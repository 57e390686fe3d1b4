package schema

import (
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"nomad.*", "nomad.job nomad.", "nomad vault.policy nomad.job/x"},
		{"shop-*", "shop- shop-web", "shop myshop-web shop-/web"},
		{"**", "a a/b a/b/c", ""},
		{"teams/pay/**", "teams/pay teams/pay/a teams/pay/b/c.yaml", "teams/payroll/a teams a/teams/pay/b"},
		{"teams/*/x", "teams/pay/x", "teams/x teams/a/b/x"},
		{"**/x/**", "x a/x a/x/b x/y", "a/y"},
		{"a/**/**/b", "a/b a/x/b a/x/y/b", "a/x"},
		{"[ab]?", "ax bz", "c ab/ a"},
	} {
		g, err := ParseGlob(c.pattern)
		if err != nil || g.String() != c.pattern {
			t.Fatalf("%s: %v, %v", c.pattern, g, err)
		}
		for _, name := range strings.Fields(c.yes) {
			if !g.Match(name) {
				t.Errorf("%s does not match %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if g.Match(name) {
				t.Errorf("%s matches %s", c.pattern, name)
			}
		}
	}
	for _, bad := range []string{"", "/a", "a/", "a//b", "../a", "a/./b", "[a", `a\`, strings.Repeat("a", MaxGlob+1)} {
		if g, err := ParseGlob(bad); err == nil {
			t.Errorf("%q is the pattern %v", bad, g)
		}
	}
	if (Glob{}).Match("") || (Glob{}).Match("a") {
		t.Error("the zero Glob matches something")
	}
}

// TestGlobReaches: what may lie below is not ruled out.
func TestGlobReaches(t *testing.T) {
	for _, c := range []struct{ pattern, yes, no string }{
		{"a/*/c", "a a/x a/x/c", "b a/x/d a/x/c/d"},
		{"a/**", "a a/b a/b/c", "b"},
		{"**/z", "a a/b z", ""},
		{"a/**/z/*", "a a/b/c/d", "b/a"},
	} {
		g, err := ParseGlob(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(c.yes) {
			if !g.Reaches(strings.Split(name, "/")) {
				t.Errorf("%s does not reach %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if g.Reaches(strings.Split(name, "/")) {
				t.Errorf("%s reaches %s", c.pattern, name)
			}
		}
		if !g.Reaches(nil) {
			t.Errorf("%s reaches nothing", c.pattern)
		}
	}
	if (Glob{}).Reaches(nil) {
		t.Error("the zero Glob reaches something")
	}
}

// FuzzGlob: whatever is a pattern means what a plain recursion says, and can be
// written and read again.
func FuzzGlob(f *testing.F) {
	f.Add("teams/*/[a-c]?/**", "teams/pay/a1/x/y")
	f.Add("**/a/**/b/**", strings.Repeat("a/", 100)+"b")
	f.Add("a*a*a*a*b", strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, pattern, name string) {
		g, err := ParseGlob(pattern)
		if err != nil {
			return
		}
		text, _ := g.MarshalText()
		var again Glob
		if err := again.UnmarshalText(text); err != nil || again.Match(name) != g.Match(name) {
			t.Fatalf("%q reads back as %v, %v", pattern, again, err)
		}
		if len(name) <= 40 && strings.Count(pattern, "**") <= 4 {
			if got, want := g.Match(name), plainMatch(g.steps, strings.Split(name, "/")); got != want {
				t.Fatalf("%q over %q: %t, want %t", pattern, name, got, want)
			}
		}
		if steps := strings.Split(name, "/"); g.Match(name) {
			for i := range steps {
				if !g.Reaches(steps[:i]) {
					t.Fatalf("%q fits %q, and does not reach %q", pattern, name, steps[:i])
				}
			}
		}
		if !strings.ContainsAny(pattern, `*?[\`) && g.Match(name) != (pattern == name) {
			t.Fatalf("%q without wildcards and %q", pattern, name)
		}
	})
}

func plainMatch(pattern, steps []string) bool {
	switch {
	case len(pattern) == 0:
		return len(steps) == 0
	case pattern[0] == "**":
		return plainMatch(pattern[1:], steps) || len(steps) > 0 && plainMatch(pattern, steps[1:])
	case len(steps) == 0:
		return false
	}
	return matchStep(pattern[0], steps[0]) && plainMatch(pattern[1:], steps[1:])
}
