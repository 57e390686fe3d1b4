package compile

import (
	"slices"
	"strings"
	"testing"
)

// Declarations are found in whatever way CUE makes them, and placed where a
// person looks for them.
func TestCUEShapes(t *testing.T) {
	const head = "package a\n\nimport \"aplomb.dev/schema/local\"\n\n"
	for name, c := range map[string]struct {
		text string
		want string // kind/name and place of each
	}{
		"the package itself": {"package a\n\napiVersion: \"aplomb.dev/v1\"\nkind: \"local.port\"\nmetadata: name: \"p\"\n", "local.port/p 3:1"},
		"two halves":         {head + "a: local.#Port\na: metadata: name: \"p\"\na: spec: number: 7\n", "local.port/p 5:1"},
		"a pattern":          {head + "[string]: local.#Port & {metadata: labels: team: \"x\"}\na: metadata: name: \"p\"\n", "local.port/p 6:1"},
		"a list":             {head + "l: [local.#Port & {metadata: name: \"p\"}, [local.#Port & {metadata: name: \"q\"}]]\n", "local.port/p 5:5 local.port/q 5:43"},
		"a comprehension":    {head + "l: [for n in [\"p\", \"q\"] {local.#Port & {metadata: name: n}}]\n", "local.port/p 5:25 local.port/q 5:25"},
		"dynamic names":      {head + "let x = \"p\"\n\"a-\\(x)\": {b: local.#Port & {metadata: name: x}}\n", "local.port/p 6:12"},
		"a default":          {head + "a: *(local.#Port & {metadata: name: \"p\"}) | null\n", "local.port/p 5:1"},
		"an alias":           {head + "a=b: local.#Port & {metadata: name: \"p\", spec: number: a.#n, #n: 7}\nb: #n: int\n", "local.port/p 5:1"},
		"text":               {"package a\n\nimport \"encoding/yaml\"\n\na: yaml.Unmarshal(\"apiVersion: aplomb.dev/v1\\nkind: local.port\\nmetadata: {name: p}\")\n", "local.port/p 5:1"},
		"only a definition":  {head + "#a: local.#Port & {metadata: name: \"p\"}\n_a: #a\nb: local.#Port & {metadata: name: \"q\"}\n", "local.port/q 7:1"},
		"numbers":            {head + "a: local.#Port & {metadata: name: \"p\", spec: number: 1Ki}\n", "local.port/p 5:1"},
		"conditional":        {head + "on: *true | bool\nif on {a: local.#Port & {metadata: name: \"p\"}}\n", "local.port/p 6:8"},
		"null":               {"package a\n\n\n\na: {apiVersion: \"aplomb.dev/v1\", kind: \"local.port\", metadata: name: \"p\", spec: null}\n", "local.port/p 5:5"},
	} {
		res := compileHere(t, files("a.cue", c.text))
		var got []string
		for _, r := range res.Resources {
			got = append(got, r.ID.Kind+"/"+r.ID.Name+" "+strings.TrimPrefix(r.Pos.String(), "a.cue:"))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s; findings %v", name, got, c.want, res.Findings)
		}
	}
}

// As many findings as there may be, and then how many more.
func TestCUEFindingsAreBounded(t *testing.T) {
	text := "package a\n\nimport (\"aplomb.dev/schema/local\", \"list\")\n\nl: [for n in list.Range(0, 1500, 1) {local.#Port & {metadata: name: \"P\\(n)\"}}]\n"
	res := compileHere(t, files("a.cue", text))
	if len(res.Findings) != maxFindings+1 || !strings.HasPrefix(res.Findings[maxFindings].Message, "and ") {
		t.Errorf("%d findings, the last %v", len(res.Findings), res.Findings[len(res.Findings)-1])
	}
}
