package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

const head = "package p\nimport \"aplomb.dev/schema/policies\"\n"

// load is a Set of one file that loads.
func load(t testing.TB, j *Judge, text string) *Set {
	t.Helper()
	s, findings, err := j.Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(head + text)}})
	if err != nil || len(findings) > 0 {
		t.Fatal(err, findings)
	}
	return s
}

// file is a local.file.
func file(name, spec string, labels map[string]string) schema.Resource {
	return schema.Resource{ID: schema.ID{Kind: "local.file", Name: name}, Spec: json.RawMessage(spec), Labels: labels, Pos: schema.Pos{File: "a/" + name + ".yaml", Line: 3, Col: 1}}
}

// judge is what a Set says of resources, a line each.
func judge(t testing.TB, s *Set, env string, resources ...schema.Resource) []string {
	t.Helper()
	said, err := s.Resources(t.Context(), env, resources)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i, all := range said {
		for _, v := range all {
			lines = append(lines, fmt.Sprintf("%s %s: %s %s %s: %s", v.Pos, resources[i].ID.Name, v.Policy, v.Level, v.Path, v.Message))
		}
	}
	return lines
}

func equal(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// What a policy says stands at the line of the field.
func TestLines(t *testing.T) {
	pool := testPool(t, time.Minute)
	tree := fstest.MapFS{"x/a.yaml": {Data: []byte(`# first
apiVersion: aplomb.dev/v1
kind: local.process
metadata:
  name: web
  labels: {team: shop}
spec:
  argv: [web]
  env:
    PORT: "80"
    "a/b": "x"
`)}}
	got, err := compile.New(compile.Options{Workers: pool}).Compile(t.Context(), compile.Declarations{FS: tree})
	if err != nil || len(got.Findings) > 0 {
		t.Fatal(err, got.Findings)
	}
	s := load(t, New(Options{Workers: pool}), `
ports: policies.#Policy & {
	level: "soft-mandatory"
	match: kinds: ["local.*"]
	hint: "leave it"
	rule: {resource: _, deny: [for k, v in resource.spec.env {path: "/spec/env/\(k)", message: "env \(k) is said", if k == "PORT" {hint: "ports come from local.port"}}]}
}
owner: policies.#Policy & {level: "advisory", rule: {require: metadata: labels: owner!: string}}
team: policies.#Policy & {level: "advisory", rule: {require: metadata: labels: team!: "core"}}
slash: policies.#Policy & {level: "advisory", rule: {resource: _, deny: [{path: "/spec/env/a~1b", message: "slash"}, {path: "/spec/argv/0", message: "first"}, {path: "/spec/nothing", message: "nearest"}]}}
`)
	equal(t, judge(t, s, "prod", got.Resources...),
		`x/a.yaml:6:3 web: owner advisory metadata.labels.owner: metadata.labels.owner is missing`,
		`x/a.yaml:10:11 web: ports soft-mandatory spec.env.PORT: env PORT is said`,
		`x/a.yaml:9:3 web: ports soft-mandatory spec.env.a.b: env a/b is said`,
		`x/a.yaml:11:12 web: slash advisory spec.env["a/b"]: slash`,
		`x/a.yaml:8:10 web: slash advisory spec.argv[0]: first`,
		`x/a.yaml:7:1 web: slash advisory spec.nothing: nearest`,
		`x/a.yaml:6:18 web: team advisory metadata.labels.team: metadata.labels.team is not what is required`,
	)
}

// What a template yielded is found at its use.
func TestLinesOfUses(t *testing.T) {
	r := file("web", `{}`, nil)
	r.Use, r.Lines = &schema.Use{Template: "WebService", Name: "web"}, schema.Lines("").Add(0, 5, 7, "spec")
	s := load(t, New(Options{}), `p: policies.#Policy & {level: "advisory", rule: deny: [{path: "/spec", message: "said"}]}`)
	equal(t, judge(t, s, "prod", r), "a/web.yaml:3:1 web: p advisory spec: said")
	r.Use = nil
	equal(t, judge(t, s, "prod", r), "a/web.yaml:8:7 web: p advisory spec: said")
}

// What needs labels only sees nothing else, and is asked once for each set.
func TestSeesLabels(t *testing.T) {
	var n atomic.Int64
	j := New(Options{Workers: worker.New(worker.Options{Services: worker.Services{Service: func() worker.Handler { return counting{NewHandler(), &n} }}})})
	s := load(t, j, `p: policies.#Policy & {level: "advisory", sees: "labels", rule: {resource: _, deny: [if resource.metadata.labels.a == "1" {message: "\(resource)"}]}}`)
	one, two := map[string]string{"a": "1"}, map[string]string{"a": "2"}
	got := judge(t, s, "prod", file("x", `{"n":1}`, one), file("y", `{"n":2}`, one), file("z", `{"n":3}`, two))
	if len(got) != 2 || n.Load() != 2 || strings.Contains(got[0], "spec") {
		t.Errorf("%d were judged: %q", n.Load(), got)
	}
}

// Which policy judges what is decided before CUE.
func TestMatch(t *testing.T) {
	s := load(t, New(Options{}), `
_all: policies.#Policy & {level: "advisory", rule: {deny: [{message: "said"}]}}
kinds: _all & {match: kinds: ["nomad.*", "local.port"]}
labels: _all & {match: labels: team: "shop*"}
paths: _all & {match: paths: ["a/*.yaml"]}
envs: _all & {match: environments: ["prod*"]}
none: _all & {match: paths: ["b/**"]}
`)
	equal(t, judge(t, s, "production", file("x", "{}", map[string]string{"team": "shop-eu"}), file("y", "{}", nil)),
		"a/x.yaml:3:1 x: envs advisory : said", "a/x.yaml:3:1 x: labels advisory : said", "a/x.yaml:3:1 x: paths advisory : said",
		"a/y.yaml:3:1 y: envs advisory : said", "a/y.yaml:3:1 y: paths advisory : said")
}

// A Set that does not load refuses everything, and says where it is wrong.
func TestUnloaded(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"syntax":         {head + "a: {", "p.cue:3:"},
		"conflict":       {head + `a: policies.#Policy & {level: "none", rule: deny: []}`, "p.cue:3:"},
		"unknown field":  {head + `a: policies.#Policy & {level: "advisory", denies: []}`, "p.cue:3:"},
		"no level":       {head + `a: policies.#Policy & {rule: {deny: []}}`, "the policy a: level"},
		"judges nothing": {head + `a: policies.#Policy & {level: "advisory", rule: {}}`, "would judge nothing"},
		"no policy":      {head + `a: policies.#Level`, "no policy is found"},
		"not a policy":   {"package p\na: {level: \"hard-mandatory\", deny: []}", "is no policy"},
		"unnamed input":  {head + `a: policies.#Policy & {level: "advisory", rule: {deny: [if resource.data {message: "x"}]}}`, `"resource" not found`},
		"import":         {"package p\nimport \"example.org/x\"\na: x.y", "example.org/x"},
		"bad name":       {head + `"a b": policies.#Policy & {level: "advisory", rule: {deny: []}}`, "other letters"},
	} {
		s, findings, err := New(Options{}).Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(c.text)}})
		if err != nil || len(findings) == 0 {
			t.Errorf("%s: %v, %v", name, err, findings)
			continue
		}
		got := judge(t, s, "prod", file("x", "{}", nil))
		if len(got) != 1 || !strings.Contains(got[0], "policies hard-mandatory : the policies do not load: ") || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		said, err := s.Changes(t.Context(), schema.PlanFacts{}, []schema.ChangeFacts{{}})
		if err != nil || len(said[0]) != 1 || !s.Has(Changes) || !s.Wants("x", &schema.ChangeFacts{}) {
			t.Errorf("%s: a change passes: %v, %v", name, said, err)
		}
	}
}

// Two packages, or a folder and one above it, make one Set; a name stands once.
func TestPackages(t *testing.T) {
	one := head + `one: policies.#Policy & {level: "advisory", rule: {deny: [{message: "1"}]}}`
	two := head + `two: policies.#Policy & {level: "advisory", rule: {deny: [{message: "2"}]}}`
	s, findings, err := New(Options{}).Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(one)}, "team/p.cue": {Data: []byte(two)}})
	if err != nil || len(findings) > 0 || len(s.Policies()) != 2 {
		t.Fatal(err, findings, s.Policies())
	}
	_, findings, err = New(Options{}).Load(t.Context(), fstest.MapFS{"p.cue": {Data: []byte(one)}, "team/q.cue": {Data: []byte(strings.Replace(one, "package p", "package q", 1))}})
	if err != nil || len(findings) != 1 || !strings.Contains(findings[0].Message, "stands twice") {
		t.Error(err, findings)
	}
}

// Policies at a path import from their repository.
func TestLoadAt(t *testing.T) {
	tree := fstest.MapFS{
		"cue.mod/module.cue": {Data: []byte("module: \"example.org/rules\"\nlanguage: version: \"v0.9.0\"\n")},
		"lib/l.cue":          {Data: []byte("package lib\nwords: \"said\"\n")},
		"prod/p.cue":         {Data: []byte(head + "import \"example.org/rules/lib\"\np: policies.#Policy & {level: \"advisory\", rule: deny: [{message: lib.words}]}\n")},
		"other/q.cue":        {Data: []byte("package q\nq: {")},
	}
	s, findings, err := New(Options{}).LoadAt(t.Context(), tree, "prod")
	if err != nil || len(findings) > 0 || !s.Outside() || s.Policies()[0].Pos.File != "prod/p.cue" {
		t.Fatal(err, findings)
	}
	equal(t, judge(t, s, "prod", file("x", `{}`, nil)), "a/x.yaml:3:1 x: p advisory : said")
}

// A policy whose rule fails refuses what it matches and nothing else; one that
// could only have advised does not refuse.
func TestBroken(t *testing.T) {
	s := load(t, New(Options{}), `
strict: policies.#Policy & {level: "soft-mandatory", match: labels: broken: "*", rule: {resource: _, deny: [for x in resource.spec.missing {message: x}]}}
advice: policies.#Policy & {level: "advisory", match: labels: broken: "*", rule: {resource: _, deny: [{message: resource.spec.missing}]}}
fine: policies.#Policy & {level: "advisory", rule: {resource: _, deny: [if resource.metadata.name == "y" {message: "it is y"}]}}
`)
	got := judge(t, s, "prod", file("x", "{}", map[string]string{"broken": "1"}), file("y", "{}", nil))
	if len(got) != 3 || !strings.Contains(got[0], "advice advisory : the policy advice cannot be judged: policies:p.cue:") ||
		!strings.Contains(got[1], "strict hard-mandatory : the policy strict cannot be judged: policies:p.cue:") || !strings.HasSuffix(got[2], "fine advisory : it is y") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	said, err := s.Resources(t.Context(), "prod", []schema.Resource{file("x", "{}", map[string]string{"broken": "1"})})
	if err != nil || len(said[0]) != 2 || !strings.Contains(said[0][1].Hint, "p.cue:4:1 of the policies; a field that may not be there wants a default") {
		t.Errorf("%v, %+v", err, said)
	}
}

// What never ends, or grows without bounds, ends a worker; the policy is
// named, the others judge on, and it refuses only what it matched.
func TestEndless(t *testing.T) {
	s := load(t, New(Options{Workers: testPool(t, 2*time.Second)}), `
import "list"
endless: policies.#Policy & {level: "soft-mandatory", match: labels: endless: "*",
	rule: {resource: _, deny: [for a in list.Range(0, resource.spec.n, 1) for b in list.Range(0, resource.spec.n, 1) for c in list.Range(0, resource.spec.n, 1) if a*b*c == -1 {message: "never"}]}}
fine: policies.#Policy & {level: "advisory", rule: {resource: _, deny: [{message: "said"}]}}
`)
	got := judge(t, s, "prod", file("x", `{"n":100000}`, map[string]string{"endless": "1"}), file("y", `{"n":1}`, nil))
	if len(got) != 3 || !strings.Contains(got[0], "endless hard-mandatory : the policy endless cannot be judged: it ") ||
		!strings.HasSuffix(got[1], "x: fine advisory : said") || !strings.HasSuffix(got[2], "y: fine advisory : said") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// What is judged enters as data: CUE in it stays text.
func TestDataOnly(t *testing.T) {
	s := load(t, New(Options{}), `
echo: policies.#Policy & {level: "advisory", rule: {resource: _, deny: [{message: resource.spec.content}, {message: "\(resource.spec.big) \(resource.spec.half)"}]}}
`)
	equal(t, judge(t, s, "prod", file("x", `{"content":"\\(1+1) _|_ #Policy \"","big":12345678901234567890123,"half":0.5}`, nil)),
		`a/x.yaml:3:1 x: echo advisory : \(1+1) _|_ #Policy "`, `a/x.yaml:3:1 x: echo advisory : 12345678901234567890123 0.5`)
}

// counting counts what is judged.
type counting struct {
	worker.Handler
	n *atomic.Int64
}

func (c counting) Handle(item []byte) any {
	var r request
	if json.Unmarshal(item, &r) == nil {
		c.n.Add(int64(len(r.Pairs)))
	}
	return c.Handler.Handle(item)
}

// Only what changed is judged again.
func TestCache(t *testing.T) {
	var n atomic.Int64
	j := New(Options{Workers: worker.New(worker.Options{Services: worker.Services{Service: func() worker.Handler { return counting{NewHandler(), &n} }}})})
	s := load(t, j, `said: policies.#Policy & {level: "advisory", rule: {resource: _, deny: [{message: resource.spec.path}]}}`)
	var all []schema.Resource
	for i := range 40 {
		all = append(all, file(fmt.Sprint("f", i), fmt.Sprintf(`{"path":"p%d"}`, i), nil))
	}
	step := func(what string, want int64) {
		t.Helper()
		before := n.Load()
		if got := judge(t, s, "prod", all...); len(got) != 40 {
			t.Fatalf("%s: %d", what, len(got))
		}
		if did := n.Load() - before; did != want {
			t.Errorf("%s: %d were judged, want %d", what, did, want)
		}
	}
	step("first", 40)
	step("again", 0)
	all[3].Spec, all[5].Pos.Line = json.RawMessage(`{"path":"other"}`), 99
	step("one changed, one moved", 1)
	if got := judge(t, s, "prod", all[5]); !strings.HasPrefix(got[0], "a/f5.yaml:99") {
		t.Errorf("what was kept stands where it was: %s", got)
	}
	s = load(t, j, `said: policies.#Policy & {level: "hard-mandatory", rule: {resource: _, deny: [{message: resource.spec.path}]}}`)
	step("another policy", 40)
}

func TestChanges(t *testing.T) {
	s := load(t, New(Options{}), `
two: policies.#Policy & {level: "soft-mandatory", over: "change", match: actions: ["delete"], rule: {change: _, if change.data {approvers: 2}}}
wide: policies.#Policy & {level: "hard-mandatory", over: "change", rule: {change: _, environment: _, deny: [if change.dependents > 3 && environment == "prod" {message: "\(change.dependents) things need it"}]}}
stack: policies.#Policy & {level: "advisory", over: "change", match: kinds: ["tofu.stack"], rule: {change: _, deny: [for d in change.deltas if d.op == "delete" {message: "\(d.path) goes"}]}}
alone: policies.#Policy & {level: "advisory", over: "change", rule: {change: _, plan: _, deny: [if plan.author == "mallory" && plan.signer == "ben" {message: "by \(plan.author)"}]}}
mass: policies.#Policy & {level: "hard-mandatory", over: "plan", match: actions: ["delete"], rule: {plan: _, deny: [if (*plan.actions.delete | 0) > 10 {message: "\(plan.actions.delete) deletions"}]}}
`)
	plan := schema.PlanFacts{Environment: "prod", Author: "mallory", Signer: "ben", Actions: map[schema.Action]int{schema.Delete: 11}}
	web := schema.ID{Kind: "local.file", Name: "web"}
	said, err := s.Changes(t.Context(), plan, []schema.ChangeFacts{
		{ID: web, Kind: "local.file", Action: schema.Delete, Data: true},
		{ID: web, Kind: "local.file", Action: schema.Update, Dependents: 4, Declared: &schema.Resource{ID: web, Pos: schema.Pos{File: "a.yaml", Line: 2}, Spec: json.RawMessage(`{}`)}},
		{ID: web, Kind: "tofu.stack", Action: schema.Update, Deltas: []schema.DeltaFacts{{Path: "/!resources/aws_vpc.main", Op: schema.Delete}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, all := range said {
		for _, v := range all {
			got = append(got, fmt.Sprintf("%d %s %d %s: %s", i, v.Policy, v.Approvers, v.Pos, v.Message))
		}
	}
	equal(t, got, "0 alone 0 : by mallory", "0 two 2 : it wants the approval of 2 different people",
		"1 alone 0 a.yaml:2: by mallory", "1 wide 0 a.yaml:2: 4 things need it", "2 alone 0 : by mallory", "2 stack 0 : /!resources/aws_vpc.main goes")
	if !s.Wants("prod", &schema.ChangeFacts{Kind: "x", Action: schema.Create}) {
		t.Error("nobody wants a change")
	}
	whole, err := s.Plan(t.Context(), plan)
	if err != nil || len(whole) != 1 || whole[0].Message != "11 deletions" || !whole[0].Applies("x", schema.Delete) || whole[0].Applies("x", schema.Create) {
		t.Errorf("%v, %v", whole, err)
	}
	plan.Actions[schema.Delete] = 10
	if whole, err = s.Plan(t.Context(), plan); err != nil || len(whole) != 0 {
		t.Errorf("%v, %v", whole, err)
	}
}

// The cases beside policies: what comes out wrong, and what is not tried.
func TestCases(t *testing.T) {
	r, err := New(Options{}).Test(t.Context(), fstest.MapFS{
		"p.cue": {Data: []byte(head + `
good: policies.#Policy & {level: "advisory", match: kinds: ["local.*"], rule: {resource: _, deny: [
	if resource.metadata.name == "a" {message: "a"},
	if resource.metadata.name == "b" {message: "b"},
]}}
untried: policies.#Policy & {level: "advisory", rule: {require: metadata: name: "a"}}
`)},
		"p_test.cue": {Data: []byte(`package p
cases: good: pass: {c: resource: {kind: "local.file", metadata: name: "c"}, wrong: resource: {kind: "local.file", metadata: name: "a"}}
cases: good: fail: {
	a: {resource: {kind: "local.file", metadata: name: "a"}, says: "a"}
	unmatched: resource: kind: "nomad.job"
	passes: resource: {kind: "local.file", metadata: name: "z"}
	says: {resource: {kind: "local.file", metadata: name: "a"}, says: "else"}
}
cases: nobody: pass: x: resource: kind: "a.b"
`)}})
	if err != nil || len(r.Findings) > 0 {
		t.Fatal(err, r.Findings)
	}
	var got []string
	for _, c := range r.Cases {
		got = append(got, fmt.Sprintf("%s %s %s %t %s", c.Policy, c.Want, c.Name, c.OK, c.Reason))
	}
	equal(t, got, "good pass c true ", "good pass wrong false it fails: a", "good fail a true ", "good fail passes false it passes",
		`good fail says false it fails, but does not say "else": a`, "good fail unmatched false the policy does not judge it: its match says no",
		"nobody   false there is no such policy")
	if r.Good() || len(r.Policies) != 2 || fmt.Sprint(r.Policies[0].Unseen) != "[p.cue:6]" || r.Policies[1].Pass+r.Policies[1].Fail != 0 {
		t.Errorf("%+v", r.Policies)
	}
}

// A policy that breaks over a resource does not say what the resource holds.
func TestBrokenPoliciesKeepValues(t *testing.T) {
	for _, rule := range []string{`deny: [if resource.spec.content > 5 {message: "m"}]`, `_x: resource.spec.content & 5, deny: [if _x == 5 {message: "m"}]`, `deny: [{message: resource.spec.content & "x"}]`} {
		s := load(t, New(Options{}), "p: policies.#Policy & {level: \"hard-mandatory\", rule: {resource: _\n"+rule+"\n}}\n")
		said := judge(t, s, "prod", file("f", `{"content":"hunter22secret"}`, nil))
		if len(said) != 1 || strings.Contains(said[0], "hunter22") || !strings.Contains(said[0], "p.cue:") {
			t.Errorf("%s: %q", rule, said)
		}
	}
}
