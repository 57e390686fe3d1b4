package policy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const good = head + "ok: policies.#Policy & {level: \"advisory\", rule: deny: []}\n"

// What would silently judge nothing is refused, with all of its tree.
func TestMisplaced(t *testing.T) {
	const (
		lib    = "package p\nimport \"aplomb.dev/schema/policies/library\"\nok: library.noLatest\n"
		policy = "policies.#Policy & {level: \"hard-mandatory\", rule: deny: []}\n"
		top    = "a policy must be a field of the package itself: in "
	)
	for name, c := range map[string]struct{ text, want string }{
		"misspelt":        {lib + "a: library.noLates\n", "p.cue:4:12: a: undefined field: noLates"},
		"unresolved":      {good + "b: {x: string}\na: b.y\n", "p.cue:5:6: a: undefined field: y"},
		"no such level":   {lib + "a: library.noLatest & {level: \"hard\"}\n", `p.cue:4:4: a.level: "hard" is none of "advisory", "hard-mandatory", "soft-mandatory"`},
		"nested":          {good + "x: strict: " + policy, "p.cue:4:4: " + top + "x it"},
		"in a list":       {good + "x: [{y: " + policy[:len(policy)-1] + "}]\n", top + "x it"},
		"hidden":          {good + "_x: " + policy, "p.cue:4:1: " + top + "_x it"},
		"optional":        {good + "x?: " + policy, top + "x"},
		"a whole library": {lib + "all: library\n", top + "all it"},
		"a choice":        {good + "x: (" + policy[:len(policy)-1] + ") | (policies.#Policy & {level: \"advisory\", rule: deny: []})\n", top + "x it"},
		"a condition":     {good + "c: bool\nif c {x: " + policy[:len(policy)-1] + "}\n", "incomplete bool"},
		"parameter":       {lib + "a: library.dataDeletion & {params: approver: 3}\n", "a.params.approver: field not allowed"},
		"parameter amiss": {lib + "a: library.noLatest & {params: kinds: [\"x\"]}\n", "a.params.kinds: field not allowed"},
		"outside params":  {lib + "a: library.ownerLabels & {labels: [\"x\"]}\n", "a.labels: field not allowed"},
	} {
		_, findings, err := New(Options{}).Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(c.text)}})
		if err != nil || len(findings) != 1 || !strings.Contains(findings[0].String(), c.want) {
			t.Errorf("%s: %v, %q, want %q", name, err, findings, c.want)
		}
	}
}

// A glob of kinds that fits none is refused, and what was meant is said.
func TestFitless(t *testing.T) {
	for glob, want := range map[string]string{
		"nomad.jbo": "did you mean nomad.job?", "nomd.*": "the kinds are consul.", "WebService": "uses of a template",
		"nomad.*": "", "*": "", "**": "", "local.p*": "",
	} {
		text := head + "a: policies.#Policy & {level: \"advisory\", match: kinds: [\"local.file\", \"" + glob + "\"], rule: deny: []}"
		_, findings, err := New(Options{}).Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(text)}})
		switch {
		case err != nil:
			t.Fatal(err)
		case want == "" && len(findings) > 0:
			t.Errorf("%s: %v", glob, findings)
		case want == "":
		case len(findings) != 1 || !strings.HasPrefix(findings[0].Message, "the policy a: match.kinds: no kind is "+glob+":") || !strings.Contains(findings[0].Hint, want) || findings[0].Pos.Line != 3:
			t.Errorf("%s: %+v", glob, findings)
		}
	}
}

// What never ends by itself, without what is judged, ends the load: all is
// refused then, and the package is named.
func TestEndlessLoad(t *testing.T) {
	text := "package p\nimport (\n\t\"list\"\n\t\"aplomb.dev/schema/policies\"\n)\n" +
		"fine: policies.#Policy & {level: \"advisory\", rule: deny: []}\n" +
		"endless: policies.#Policy & {level: \"advisory\", rule: deny: [for a in list.Range(0, 100000, 1) for b in list.Range(0, 100000, 1) if a*b == -1 {message: \"never\"}]}\n"
	s, findings, err := New(Options{Workers: testPool(t, time.Second)}).Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(text)}})
	if err != nil || len(findings) != 1 || !strings.HasPrefix(findings[0].String(), "policies:p.cue: evaluating it ") {
		t.Fatal(err, findings)
	}
	equal(t, judge(t, s, "prod", file("x", "{}", nil)), "a/x.yaml:3:1 x: policies hard-mandatory : the policies do not load: "+findings[0].String())
}

// What others build upon is no policy of its own, and is not in the way.
func TestBuiltUpon(t *testing.T) {
	s := load(t, New(Options{}), `
_base: policies.#Policy & {level: *"advisory" | policies.#Level, rule: deny: []}
#strict: _base & {level: "hard-mandatory"}
#tree: {child?: #tree, n: int}
names: ["a", "b"]
who: string
some: {tree: #tree, list: [...string]}
for n in names {"p-\(n)": #strict}
`)
	if len(s.Policies()) != 2 {
		t.Error(s.Policies())
	}
}

// A link may lead to policies, which would not be read: it is refused.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"p/p.cue": good, "p/README": "", "elsewhere/q.cue": good} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"more.cue": "../elsewhere/q.cue", "more": "../elsewhere", "LICENSE": "README", "lost": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, "p", link)); err != nil {
			t.Fatal(err)
		}
	}
	_, findings, err := New(Options{}).Load(t.Context(), os.DirFS(filepath.Join(dir, "p")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, f.Pos.File+": "+f.Message)
	}
	const why = ": a symbolic link: links are not followed"
	equal(t, got, "policies:lost"+why, "policies:more"+why, "policies:more.cue"+why)
}
