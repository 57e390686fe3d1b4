package terminal

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/policy"
	"github.com/aplomb-dev/aplomb/sources"
)

var update = flag.Bool("update", false, "write the golden screens again")

var now = time.Date(2026, 11, 23, 14, 2, 11, 0, time.UTC)

func id(s string) schema.ID {
	v, err := schema.ParseID(s)
	if err != nil {
		panic(err)
	}
	return v
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func change(at, layer string, a schema.Action, file string, line int, diff ...drivers.Delta) reconciler.PlannedChange {
	c := reconciler.PlannedChange{Layer: layer, Digest: strings.Repeat("90ab12cd34ef", 6)[:64], Pos: schema.Pos{File: file, Line: line, Col: 3}}
	c.ID, c.Action, c.Diff = id(at), a, diff
	return c
}

func delta1(path, before, after string) drivers.Delta {
	return drivers.Delta{Path: schema.Path(path), Op: schema.Update, Before: raw(before), After: raw(after)}
}

func aPlan() reconciler.PlanView {
	unknown := drivers.Delta{Path: "/outputs/subnet_ids", Op: schema.Update, Before: raw(`["a"]`), After: raw(`"@{tofu.stack/x.y}"`), Unknown: true}
	replaced := drivers.Delta{Path: "/type", Op: schema.Replace, Before: raw(`"service"`), After: raw(`"system"`)}
	replace := change("nomad.job/web@eu", schema.Scheduler, schema.Replace, "web.yaml", 1, replaced, delta1("/group/web/count", "2", "3"))
	replace.Held = []string{"replace wants approval (hold in web.yaml:9)"}
	gone := change("nomad.job/old@us", schema.Scheduler, schema.Delete, "old.yaml", 1)
	gone.Was = "3f2a91c8d7"
	drift := change("local.file/motd@local", schema.Provisioning, schema.Update, "motd.yaml", 7,
		delta1("/content", `"hello\nworld"`, `"[secret:abc123]"`), drivers.Delta{Path: drivers.MarkPath, Op: schema.Create, After: raw(`"7f3a"`)})
	drift.Drift, drift.Waits = true, []string{"local.port/web"}
	return reconciler.PlanView{
		Environment: "prod", Revision: sources.Revision{ID: "8c1d2e0aa"}, Live: 41, Unchanged: 38, Complete: true,
		Changes: []reconciler.PlannedChange{
			change("tofu.stack/network@tofu", schema.Provisioning, schema.Update, "stacks/network.yaml", 3, delta1("/subnets", "3", "4"), unknown),
			drift,
			change("vault.policy/web@vault", schema.Security, schema.Create, "web.yaml", 21, drivers.Delta{Path: "/rules", Op: schema.Create, After: raw(`{"path":"kv/web"}`)}),
			replace, gone,
		},
		Unplanned: []reconciler.ResourceStatus{{ID: id("consul.service/api@consul"), State: reconciler.Conflict, Reason: "lives already and is not ours", Hint: "metadata.adopt: true takes it over"}},
		Counts:    map[schema.Action]int{schema.Create: 1, schema.Update: 2, schema.Replace: 1, schema.Delete: 1},
		Digest:    strings.Repeat("5e0c7a1f93b2", 6)[:64],
	}
}

func aStatus() reconciler.Status {
	return reconciler.Status{
		Environment: "prod", Revision: sources.Revision{ID: "8c1d2e0aa"}, Source: reconciler.SourceStatus{OK: true, At: now.Add(-14 * time.Second)},
		Targets: []reconciler.TargetStatus{{Name: "eu", OK: true}, {Name: "us", Error: "dial tcp 10.0.0.7:4646: connection refused", Since: now.Add(-3 * time.Minute), Next: now.Add(32 * time.Second)}},
		Resources: []reconciler.ResourceStatus{
			{ID: id("local.file/motd@local"), Layer: schema.Provisioning, State: reconciler.Converged, Note: "web/config.json", LastAction: schema.Create, LastAt: now},
			{ID: id("vault.mount/legacy@vault"), Layer: schema.Security, State: reconciler.Held, Reason: "delete wants approval: holds data", Digest: strings.Repeat("90ab12cd34ef", 6)[:64]},
			{ID: id("nomad.job/web@eu"), Layer: schema.Scheduler, State: reconciler.Progressing, Reason: "deployment 3 of 5 healthy", Deadline: now.Add(7 * time.Minute)},
			{ID: id("nomad.job/api@us"), Layer: schema.Scheduler, State: reconciler.Degraded, Reason: "us: connection refused; retry 4 in 32 s", Hint: "is us there?"},
			{ID: id("nomad.job/batch@us"), Layer: schema.Scheduler, State: reconciler.Waiting, Reason: "needs nomad.job/api"},
		},
		Counts: map[reconciler.State]int{reconciler.Converged: 1, reconciler.Progressing: 1, reconciler.Held: 1, reconciler.Degraded: 1, reconciler.Waiting: 1},
		Policies: &reconciler.FollowedStatus{Revision: sources.Revision{ID: "5ec0de110"}, Source: reconciler.SourceStatus{
			Error: "fetch https://git.example.org/security.git: 503", Since: now.Add(-2 * time.Minute), At: now}},
	}
}

// judgedBy is what policies say of something.
func judgedBy(levels ...schema.Level) []schema.Violation {
	var all []schema.Violation
	for i, l := range levels {
		all = append(all, schema.Violation{Policy: "cost-label", Level: l, Message: `it has no label "cost-centre"`, Hint: "labels: {cost-centre: …}", Pos: schema.Pos{File: "web.yaml", Line: 7 + i, Col: 3}})
	}
	return all
}

// aRefusedPlan is one that policies have much to say about.
func aRefusedPlan() reconciler.PlanView {
	v := aPlan()
	v.Changes[0].Violations = judgedBy(schema.Advisory)
	v.Changes[1].Violations, v.Changes[1].Blocked = judgedBy(schema.SoftMandatory), []string{"cost-label"}
	v.Changes[1].Held = []string{`policy cost-label (soft-mandatory) refuses it: it has no label "cost-centre"`}
	v.Changes[2].Violations, v.Changes[2].Blocked, v.Changes[2].Refused = judgedBy(schema.HardMandatory), []string{"cost-label"}, true
	v.Changes[2].Held = []string{`policy cost-label (hard-mandatory) refuses it: it has no label "cost-centre"`}
	return v
}

// aChangedPlan is one of which something else was approved.
func aChangedPlan() reconciler.PlanView {
	v := aPlan()
	v.Changes[0].Held = []string{"wants approval: a review of shop/team (owns tofu.stack/*.subnets)"}
	v.Changes[0].Changed = &gate.Changed{By: "ana", At: now.Add(-2 * time.Hour), Between: []plan.Difference{
		{What: "field", Path: "/subnets", Then: "3 → 5", Now: "3 → 4"}, {What: "field", Path: "/outputs/subnet_ids", Then: "not changed", Now: "known after apply"}}}
	v.Changes[4].Held = []string{"wants approval: a review"}
	v.Changes[3].Changed = &gate.Changed{Proposal: "7", At: now.Add(-time.Hour), Between: []plan.Difference{{What: "field", Path: "/type", Then: "service → batch", Now: "service → system"}}}
	v.Changes[4].Changed = &gate.Changed{By: "ben", At: now, Between: []plan.Difference{
		{What: "action", Then: "replace", Now: "delete"}, {What: "before", Path: "/count", Then: "1", Now: "2"}}}
	return v
}

// aJudgedStatus is one of which policies have something to say.
func aJudgedStatus() reconciler.Status {
	s := aStatus()
	s.Resources[0].Violations = judgedBy(schema.Advisory, schema.SoftMandatory)
	return s
}

func cases() *policy.Report {
	return &policy.Report{
		Policies: []policy.Coverage{
			{Policy: "noLatest", Level: schema.SoftMandatory, Pass: 2, Fail: 3, Unseen: []string{"p.cue:12"}},
			{Policy: "owner", Level: schema.Advisory, Fail: 1}, {Policy: "untried", Level: schema.HardMandatory},
		},
		Cases: []policy.CaseResult{{OK: true}, {Policy: "owner", Name: "none", Want: "fail", Reason: "it passes"}},
	}
}

func aTroubledStatus() reconciler.Status {
	s := reconciler.Status{
		Environment: "prod", Revision: sources.Revision{ID: "8c1d2e0aa"}, Targets: []reconciler.TargetStatus{{Name: "local", OK: true}},
		Source:    reconciler.SourceStatus{Error: "fetch https://git.example.org/fleet.git: 503", Hint: "is the server up?", Since: now.Add(-2 * time.Hour), At: now},
		Suspended: &reconciler.Lever{By: "ana", At: now.Add(-time.Minute), Why: "moving the disk"},
		Rollback:  &reconciler.Rollback{To: sources.Revision{ID: "3f2a91c00"}, Quarantined: sources.Revision{ID: "99999990"}, Lever: reconciler.Lever{By: "ben", At: now.Add(-3 * time.Second)}},
		Refused:   &reconciler.Refusal{Revision: sources.Revision{ID: "abcdef012", Title: "oops"}, Files: 41},
		Report:    reconciler.ReportStatus{Error: "push aplomb-status: denied"},
		Templates: &reconciler.FollowedStatus{Revision: sources.Revision{ID: "7e57ab1e0"}, Source: reconciler.SourceStatus{OK: true, At: now}},
	}
	for i := range 7 {
		s.Refused.Findings = append(s.Refused.Findings, schema.Diagnostic{Pos: schema.Pos{File: "web.yaml", Line: i + 1, Col: 5}, Subject: "nomad.job/web", Message: "unknown field coutn"})
	}
	s.Refused.Findings[1].Hint = "did you mean count?"
	return s
}

func findings() []schema.Diagnostic {
	return []schema.Diagnostic{
		{Pos: schema.Pos{File: "environments/prod/web.yaml", Line: 12, Col: 5}, Subject: "nomad.job/web", Message: `unknown field "coutn"`, Hint: `did you mean "count"? fields here: aplomb explain nomad.job.job.TaskGroups`},
		{Pos: schema.Pos{File: "environments/prod/net.cue", Line: 8, Col: 3}, Subject: "consul.service-intentions/db", Message: `spec.sources[0].action: "permit" is not one of "allow", "deny"`, Also: []schema.Pos{{File: "a.yaml", Line: 1}}},
	}
}

func aDetail() reconciler.Detail {
	s := aStatus().Resources[0]
	s.Pos, s.Since, s.LastRev = schema.Pos{File: "motd.yaml", Line: 7, Col: 1}, now.Add(-26*time.Hour), "8c1d2e0aa"
	c := aPlan().Changes[1]
	return reconciler.Detail{
		Status: s, Handle: "file/web/config.json", Health: drivers.Health{Status: drivers.Unhealthy, Reason: "1 of 2 passing"},
		Declared: raw(`{"path":"motd","content":"@{local.secret/db.value}"}`), Live: raw(`{"path":"motd","content":"[secret:abc123]"}`),
		Outputs: map[string]drivers.Output{"path": {Value: raw(`"/srv/motd"`)}, "value": {Secret: true, Fingerprint: "abc123"}},
		Change:  &c, Needs: []schema.ID{id("local.secret/db@local")},
		Events: []reconciler.Event{{At: now, Type: "applied", Action: schema.Create, Seconds: 0.3}, {At: now, Type: "drift", Message: "content differs"}},
	}
}

func events() []reconciler.Event {
	web := id("local.process/web@local")
	return []reconciler.Event{
		{At: now, Type: "revision", Revision: "3f2a91c00", Message: "first"},
		{At: now, Type: "applied", ID: web, Action: schema.Create, Seconds: 0.31},
		{At: now, Type: "state", ID: web, State: reconciler.Waiting, Message: "never shown"},
		{At: now, Type: "state", ID: web, State: reconciler.Converged},
		{At: now, Type: "drift", ID: web, Message: "instance 2 exited (killed)"},
		{At: now, Type: "repaired", ID: web, Seconds: 0.3},
		{At: now, Type: "failed", ID: web, Message: "start: \x1b[2J\x07no such file"},
		{At: now, Type: "state", ID: web, State: reconciler.Degraded, Message: "retry 1 in 700ms"},
		{At: now, Type: "failed", ID: web, Message: "start: \x1b[2J\x07no such file"},
		{At: now, Type: "state", ID: web, State: reconciler.Degraded, Message: "retry 2 in 1.5s"},
		{At: now, Type: "failed", ID: web, Message: drivers.ErrStale.Error()},
		{At: now, Type: "refused", Revision: "8c1d2e0aa", Message: "main: the branch was rewound"},
		{At: now, Type: "source", Message: "main: the branch was rewound"},
		{At: now, Type: "applied", ID: web, Action: schema.Adopt},
		{At: now, Type: "source", Message: "fetch: 503"},
		{At: now, Type: "source"},
		{At: now, Type: "lever", Message: "ana: suspend"},
		{At: now, Type: "converged", Revision: "3f2a91c00", Seconds: 125},
		{At: now, Type: "converged", Revision: "3f2a91c00", Seconds: 126},
	}
}

func aGraph() reconciler.GraphView {
	port, file, proc := id("local.port/web@local"), id("local.file/web@local"), id("local.process/web@local")
	return reconciler.GraphView{Nodes: []reconciler.GraphNode{
		{ID: port, Layer: schema.Provisioning, State: reconciler.Converged},
		{ID: file, Layer: schema.Provisioning, State: reconciler.Converged, Needs: []schema.ID{port}},
		{ID: proc, Layer: schema.Scheduler, State: reconciler.Held, Needs: []schema.ID{port, file}},
	}}
}

func aKind() schema.Kind {
	return schema.Kind{Name: "local.demo", Layer: schema.Provisioning, Data: true, Doc: "A file that is kept as declared. It is written whole or not at all, and durably, so that who reads it never sees a half.\n\nA second paragraph.",
		Fields: []schema.Field{
			{Path: "/path", Type: "string", Required: true, Immutable: true, Doc: "Where it lies."},
			{Path: "/env", Type: "{[string]: string}", Default: "{}"},
			{Path: "/env/*", Type: "string", Secret: true, Doc: "A variable."},
		}, Outputs: []schema.Field{{Path: "/value", Type: "string", Secret: true}}}
}

// screens is every screen, by name.
var screens = map[string]func(*Printer){
	"plan":            func(p *Printer) { p.Plan(aPlan(), false) },
	"plan-full":       func(p *Printer) { p.Plan(aPlan(), true) },
	"plan-nothing":    func(p *Printer) { p.Plan(reconciler.PlanView{Environment: "prod", Live: 1, Unchanged: 1}, false) },
	"status":          func(p *Printer) { p.Status(aStatus(), false) },
	"status-all":      func(p *Printer) { p.Status(aStatus(), true) },
	"status-troubled": func(p *Printer) { p.Status(aTroubledStatus(), false) },
	"status-forge":    func(p *Printer) { p.Status(aStatusOfForge(true), false); p.Status(aStatusOfForge(false), false) },
	"status-empty":    func(p *Printer) { p.Status(reconciler.Status{Environment: "new"}, false) },
	"plan-uses":       func(p *Printer) { p.Plan(aPlanOfUses(), false) },
	"status-uses":     func(p *Printer) { p.Status(aStatusOfUses(), true) },
	"use":             func(p *Printer) { p.Use(aUse("web", "v2"), aStatusOfUses().Resources[1:3]) },
	"template":        func(p *Printer) { p.Template(aTemplate()) },
	"templates": func(p *Printer) {
		p.Templates(nil)
		t := aTemplate()
		old := t
		old.Version = "v1"
		p.Templates([]Template{t, old})
	},
	"error":         func(p *Printer) { p.Error("write /etc/motd: permission denied", "run as somebody who may") },
	"diagnostics":   func(p *Printer) { p.Diagnostics(findings(), 41) },
	"lint":          func(p *Printer) { p.Lint(findings()); p.Valid(1, 2) },
	"show":          func(p *Printer) { p.Show(aDetail()) },
	"graph":         func(p *Printer) { p.Graph(aGraph()) },
	"graph-dot":     func(p *Printer) { p.DOT(aGraph()) },
	"graph-mermaid": func(p *Printer) { p.Mermaid(aGraph()) },
	"kind":          func(p *Printer) { p.Kind(aKind()) },
	"kinds":         func(p *Printer) { p.Kinds([]schema.Kind{aKind()}) },
	"field":         func(p *Printer) { p.Field(aKind(), aKind().Fields[1]) },
	"plan-refused":  func(p *Printer) { p.Plan(aRefusedPlan(), false) },
	"plan-changed":  func(p *Printer) { p.Plan(aChangedPlan(), false) },
	"status-judged": func(p *Printer) { p.Status(aJudgedStatus(), false); p.Status(aJudgedStatus(), true) },
	"judged":        func(p *Printer) { p.Judged(findings()[:1], findings()[1:]); p.Refused(1) },
	"policy-test":   func(p *Printer) { p.PolicyTest(cases()) },
	"events": func(p *Printer) {
		for _, e := range events() {
			p.Event(e)
		}
	},
	"history": func(p *Printer) {
		p.History(nil)
		p.History([]reconciler.Record{
			{At: now, Revision: "8c1d2e0aa", What: "converged", Title: "change the name", Templates: "7e57ab1e0", Policies: "5ec0de110"},
			{At: now, Revision: "8c1d2e0aa", What: "applied", ID: id("local.file/a@local"), Action: schema.Update},
			{At: now.Add(-50 * time.Hour), Revision: "3f2a91c00", What: "failed", ID: id("local.file/b@local"), Action: schema.Delete, Error: "denied"},
		})
	},
	"audit": func(p *Printer) {
		p.Audit(nil)
		p.Audit([]reconciler.AuditEntry{{At: now, By: "ana", Via: "token", What: "approve", Subject: strings.Repeat("5e0c7a1f93b2", 6)[:64], Why: "read it"}, {At: now, By: "ben", Via: "socket", What: "suspend"}})
	},
	"up": func(p *Printer) {
		s := aStatus()
		p.Heading("examples/shop", "local", ".aplomb", reconciler.Status{Revision: sources.Revision{ID: "3f2a91c00", Title: "first"}})
		p.Lines(s, now.Add(-time.Minute))
		p.Outcome(s, now.Add(-2400*time.Millisecond))
		s.Converged = true
		p.Outcome(s, now.Add(-2400*time.Millisecond))
	},
	"status-many": func(p *Printer) {
		s := reconciler.Status{Environment: "prod", Counts: map[reconciler.State]int{reconciler.Held: 312, reconciler.Converged: 5, reconciler.Degraded: 1}}
		for i := range 312 {
			s.Resources = append(s.Resources, reconciler.ResourceStatus{ID: id(fmt.Sprintf("local.file/f%d@local", i)), State: reconciler.Held})
		}
		s.Resources = append(s.Resources, reconciler.ResourceStatus{ID: id("local.file/last@local"), State: reconciler.Degraded})
		p.Status(s, false)
	},
	"heading": func(p *Printer) {
		if p.Width == 120 {
			p.Width = 110
		}
		rev := reconciler.Status{Revision: sources.Revision{ID: "3f2a91c00", Title: "make the front page say what the shop sells, and where it is"}}
		p.Heading("examples/shop", "local", ".aplomb", rev)
		rev.Revision.Title = "first"
		p.Heading("https://git.example.org/fleet.git", "local", ".aplomb", rev)
	},
	"up-many": func(p *Printer) {
		var s reconciler.Status
		for i := range 30 {
			st := reconciler.Converged
			if i%7 == 0 {
				st = reconciler.Progressing
			}
			s.Resources = append(s.Resources, reconciler.ResourceStatus{ID: id(fmt.Sprintf("local.file/f%d@local", i)), Layer: schema.Provisioning, State: st})
		}
		_, _ = fmt.Fprintln(p.Out, strings.Join(p.frame(s, now, 4), "\n"))
	},
}

// TestScreens compares every screen with its golden file, in a pipe and on
// terminals of several widths; -update writes them.
func TestScreens(t *testing.T) {
	for name, show := range screens {
		t.Run(name, func(t *testing.T) {
			var all bytes.Buffer
			for _, width := range []int{0, 120, 80, 40} {
				b := screen(show, width, false)
				if width > 0 {
					narrow(t, name, b, width)
				}
				fmt.Fprintf(&all, "==== %s\n%s", map[bool]string{true: "pipe", false: fmt.Sprint(width, " columns")}[width == 0], b)
			}
			golden(t, filepath.Join("testdata", name+".txt"), all.Bytes())
		})
	}
}

func screen(show func(*Printer), width int, colour bool) []byte {
	var b bytes.Buffer
	show(&Printer{Out: &b, Width: width, Terminal: width > 0, Colour: colour, Now: func() time.Time { return now }})
	return b.Bytes()
}

// narrow wants every line of a screen within its width, where it may be cut.
func narrow(t *testing.T, name string, b []byte, width int) {
	switch name {
	case "error", "diagnostics", "lint", "judged", "graph-dot", "graph-mermaid": // whole, or for programs
		return
	}
	for line := range strings.Lines(string(b)) {
		if n := cells1(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%d columns, more than %d: %q", n, width, line)
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference\n%s", path, got)
	}
}

// TestColour: colour only repeats; without its escapes a screen is the same.
func TestColour(t *testing.T) {
	for name, show := range screens {
		plain, coloured := screen(show, 80, false), screen(show, 80, true)
		stripped := string(coloured)
		for _, c := range []string{"0", "1", "2", "31", "32", "33", "34"} {
			stripped = strings.ReplaceAll(stripped, "\x1b["+c+"m", "")
		}
		if stripped != string(plain) {
			t.Errorf("%s: colour changes the text", name)
		}
		if bytes.Contains(plain, []byte("\x1b")) {
			t.Errorf("%s: an escape without colour", name)
		}
	}
}

// TestNoSecret: a token is shown nowhere.
func TestNoSecret(t *testing.T) {
	for name, show := range screens {
		if b := screen(show, 0, false); bytes.Contains(b, []byte("abc123")) {
			t.Errorf("%s shows a secret's token: %s", name, b)
		}
	}
}
