package compile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// doubling is a package whose value is 2^n times as large as its text.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString("package evil\n\nx0: [1, 2, 3, 4]\n")
	for i := range n {
		fmt.Fprintf(&b, "x%d: [for a in x%d for b in [1, 2] {a}]\n", i+1, i)
	}
	return b.String()
}

// CUE that has no end, or needs more than there is, ends in a finding in a real
// worker, in time, and the files beside it are checked.
func TestEvilCUE(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	deadline := 2 * time.Second
	for name, c := range map[string]struct{ text, finding string }{
		"doubling":   {doubling(40), "checking it "},
		"strings":    {"package evil\n\nimport \"strings\"\n\nx: strings.Repeat(strings.Repeat(\"x\", 100000), 100000)\n", "checking it "},
		"numbers":    {"package evil\n\nimport \"math\"\n\nx: math.Pow(10, 100000000)\n", ""},
		"recursion":  {"package evil\n\n#F: {n: int, out: (#F & {\"n\": n + 1}).out}\nx: (#F & {n: 0}).out\n", ""},
		"disjuncts":  {"package evil\n\n" + strings.Repeat("x: {a: 1} | {b: 1} | {c: 1} | {d: 1}\n", 40), ""},
		"range":      {"package evil\n\nimport \"list\"\n\nx: [for a in list.Range(0, 1000000000, 1) {a}]\n", "checking it "},
		"resources":  {"package evil\n\nimport (\"aplomb.dev/schema/local\", \"list\")\n\nx: [for a in list.Range(0, 3000000, 1) {local.#Port & {metadata: name: \"p\\(a)\"}}]\n", "checking it "},
		"deep":       {"package evil\n\nx: " + strings.Repeat("{a: ", 9000) + "1" + strings.Repeat("}", 9000) + "\n", ""},
		"regexp":     {"package evil\n\nx: =~\"" + strings.Repeat("(a*)*", 10000) + "\"\nx: \"" + strings.Repeat("a", 100000) + "\"\n", ""},
		"selfimport": {"package evil\n\nimport \"example.org/fleet/a\"\n\nx: a\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Deadline: deadline, Memory: 160 << 20}})
			defer func() { _ = p.Close() }()
			began := time.Now()
			res := compileWith(t, Options{Workers: p}, files("cue.mod/module.cue", fleetModule, "a/a.cue", c.text,
				"b/b.cue", "package b\n\nimport \"aplomb.dev/schema/local\"\n\nb: local.#Port & {metadata: name: \"b\"}\n", "z.yaml", port("z")))
			if took := time.Since(began); took > 5*deadline {
				t.Errorf("it took %s", took)
			}
			t.Log(time.Since(began), res.Findings)
			if c.finding != "" {
				wantFindings(t, res, "a/a.cue:1:1: "+c.finding)
			}
			seen := names(res.Seen)
			if !strings.Contains(strings.Join(seen, " "), "local.port/b local.port/z") {
				t.Errorf("seen %v, findings %v", seen, res.Findings)
			}
		})
	}
}
