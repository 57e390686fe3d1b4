package gate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// rule is written "kinds in paths with label=value fields: owners"; each part
// but the owners may be missing.
func rule(t *testing.T, kinds, paths, label, fields string, owners ...string) gate.OwnerRule {
	t.Helper()
	globs := func(text string) (all []schema.Glob) {
		for _, s := range strings.Fields(text) {
			g, err := schema.ParseGlob(s)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		return all
	}
	r := gate.OwnerRule{Kinds: globs(kinds), Paths: globs(paths), Owners: owners}
	if k, v, ok := strings.Cut(label, "="); ok {
		r.Labels = map[string]schema.Glob{k: globs(v)[0]}
	}
	for _, s := range strings.Fields(fields) {
		f, err := gate.ParseField(s)
		if err != nil {
			t.Fatal(err)
		}
		r.Fields = append(r.Fields, f)
	}
	return r
}

func job(a schema.Action, before string, diff ...drivers.Delta) plan.Masked {
	return plan.Mask("env", "engine", drivers.Change{ID: schema.ID{Kind: "nomad.job", Name: "web", Target: "eu"}, Handle: "web", Action: a, Before: json.RawMessage(before), Diff: diff})
}

func alters(path schema.Path, before, after string) drivers.Delta {
	d := drivers.Delta{Path: path, Op: schema.Update}
	if before != "" {
		d.Before = json.RawMessage(before)
	}
	if after != "" {
		d.After = json.RawMessage(after)
	}
	return d
}

// falls are the owners of the rules that a change falls under.
func falls(o gate.Owners, in gate.Owned) string {
	var all []string
	for _, r := range o.Of(in) {
		all = append(all, r.Owners...)
	}
	return strings.Join(all, " ")
}

// Whose a change is: by field before by resource, the last rule of several, by
// what it was and by what it becomes.
func TestOwnersOf(t *testing.T) {
	const count, image = "/job/TaskGroups/*/Count", "/job/TaskGroups/*/Tasks/*/Config/image"
	o := gate.NewOwners([]gate.OwnerRule{
		rule(t, "nomad.*", "", "", "", "platform"),
		rule(t, "nomad.job", "", "", count, "team"),
		rule(t, "nomad.job", "", "", image, "security"),
		rule(t, "", "security/**", "", "", "guards"),
		rule(t, "", "", "tier=pro*", "/job/Priority", "sre"),
		rule(t, "nomad.job", "", "", "/job/Meta/free", []string{}...),
	})
	plain := &gate.Face{Files: []string{"shop/web.yaml"}, Labels: map[string]string{}}
	prod := &gate.Face{Files: []string{"shop/web.yaml"}, Labels: map[string]string{"tier": "prod"}}
	guarded := &gate.Face{Files: []string{"templates/x.cue", "security/web.yaml"}, Labels: map[string]string{}}
	unknown := &gate.Face{}
	counts := alters("/job/TaskGroups/web/Count", "1", "2")
	priority := alters("/job/Priority", "50", "60")
	opaque := alters("/job/TaskGroups/web", "", `"@{a.b/c.d}"`)
	opaque.Unknown = true
	spec := `{"job":{"TaskGroups":[{"Name":"web","Count":1}]}}`
	for _, c := range []struct {
		name     string
		change   plan.Masked
		spec     string
		now, was *gate.Face
		want     string
	}{
		{"the count is the team's", job(schema.Update, "", counts), spec, plain, plain, "team"},
		{"the image is security's", job(schema.Update, "", alters("/job/TaskGroups/web/Tasks/srv/Config/image", `"a"`, `"b"`)), spec, plain, plain, "security"},
		{"both", job(schema.Update, "", counts, alters("/job/TaskGroups/web/Tasks/srv/Config/image", `"a"`, `"b"`)), spec, plain, plain, "team security"},
		{"the rest is whose the resource is", job(schema.Update, "", alters("/job/Type", `"a"`, `"b"`)), spec, plain, plain, "platform"},
		{"the last rule for the resource", job(schema.Update, "", alters("/job/Type", `"a"`, `"b"`)), spec, guarded, guarded, "guards"},
		{"a field that is nobody's", job(schema.Update, "", alters("/job/Meta/free", `"a"`, `"b"`)), spec, guarded, guarded, ""},
		{"below a field", job(schema.Update, "", alters("/job/TaskGroups/web/Count/#1", "1", "2")), spec, plain, plain, "team"},
		{"a group that comes as a whole", job(schema.Update, "", alters("/job/TaskGroups/new", "", `{"Count":3,"Tasks":[{"Config":{"image":"x"},"Name":"srv"}]}`)), spec, plain, plain, "platform team security"},
		{"a group that goes without a word", job(schema.Update, "", alters("/job/TaskGroups/web", "", "")), spec, plain, plain, "platform team security"},
		{"a list in which one thing differs", job(schema.Update, "", alters("/job/TaskGroups", `[{"Name":"web","Count":1,"Kept":1},{"Name":"b"}]`, `[{"Name":"web","Count":2,"Kept":1},{"Name":"b"}]`)), spec, plain, plain, "team"},
		{"a key that holds a slash", job(schema.Update, "", alters(schema.Path("/job/TaskGroups").Child("a/b").Child("Count"), "1", "2")), spec, plain, plain, "team"},
		{"not known yet", job(schema.Update, "", opaque), spec, plain, plain, "platform team security"},
		{"only the mark", job(schema.Update, "", alters("/!mark", "", `"env"`)), spec, plain, plain, "platform"},
		{"a label", job(schema.Update, "", priority), spec, prod, prod, "sre"},
		{"no label", job(schema.Update, "", priority), spec, plain, plain, "platform"},
		{"taken away in the same commit", job(schema.Update, "", priority), spec, plain, prod, "platform sre"},
		{"moved in the same commit", job(schema.Update, "", alters("/job/Type", `"a"`, `"b"`)), spec, plain, guarded, "platform guards"},
		{"labels that nobody kept", job(schema.Update, "", priority), spec, plain, unknown, "platform guards sre"},
		{"made", job(schema.Create, ""), spec, plain, nil, "platform team"},
		{"taken over", job(schema.Adopt, "", priority), spec, prod, nil, "platform team sre"},
		{"made anew", job(schema.Replace, `{"job":{"Priority":50}}`, alters("/job/Type", `"a"`, `"b"`)), spec, prod, prod, "platform team sre"},
		{"gone", job(schema.Delete, spec), "", nil, plain, "platform team"},
		{"gone, of what nothing is known", job(schema.Delete, spec), "", nil, nil, "platform team guards"},
		{"nothing", job(schema.None, ""), spec, plain, plain, ""},
		{"decided later", job(schema.Deferred, "", counts), spec, plain, plain, ""},
		{"an update of nothing that is named", job(schema.Update, ""), spec, plain, plain, "platform team"},
	} {
		if got := falls(o, gate.Owned{Change: c.change, Spec: []byte(c.spec), Now: c.now, Was: c.was}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := falls(gate.Owners{}, gate.Owned{Change: job(schema.Update, "", counts), Now: plain}); got != "" {
		t.Errorf("without rules it is %q's", got)
	}
	if got := strings.Join(o.All(), " "); got != "platform team security guards sre" {
		t.Errorf("owners: %s", got)
	}
}

// A change of more fields than are told apart is everybody's who may own one.
func TestOwnersOfTooMany(t *testing.T) {
	o := gate.NewOwners([]gate.OwnerRule{rule(t, "", "", "", "/zz", "z"), rule(t, "vault.*", "", "", "/zz", "v")})
	var list []string
	for i := range 60_000 {
		list = append(list, fmt.Sprintf("%q:1", fmt.Sprint("a", i)))
	}
	in := gate.Owned{Change: job(schema.Create, "", alters("/a", "", "{"+strings.Join(list, ",")+"}")), Spec: []byte(`{}`), Now: &gate.Face{Files: []string{"a"}, Labels: map[string]string{}}}
	if got := falls(o, in); got != "z" {
		t.Errorf("%q", got)
	}
}

// Whose yes counts for what.
func TestJudgeOwners(t *testing.T) {
	two := rule(t, "nomad.job", "", "", "/job/Priority", "org/sre", "@eve")
	two.Reviews = 2
	o := gate.NewOwners([]gate.OwnerRule{
		rule(t, "nomad.job", "", "", "/job/TaskGroups/*/Count", "shop/team"), two,
	})
	face := &gate.Face{Files: []string{"a.yaml"}, Labels: map[string]string{}}
	count, both := job(schema.Update, "", alters("/job/TaskGroups/web/Count", "1", "2")), job(schema.Update, "", alters("/job/Priority", "1", "2"), alters("/job/TaskGroups/web/Count", "1", "2"))
	yes := func(by string, c plan.Masked, speaks ...string) gate.Approval {
		return gate.Approval{ID: "x", By: by, At: now, Changes: []plan.Masked{c}, Speaks: speaks}
	}
	const team, sre = "wants approval: a review of shop/team (owns nomad.job/*.job.TaskGroups.*.Count)", "wants approval: reviews by 2 of org/sre or @eve (owns nomad.job/*.job.Priority)"
	for _, c := range []struct {
		name      string
		change    plan.Masked
		approvals []gate.Approval
		want      []string
	}{
		{"nobody", count, nil, []string{team}},
		{"somebody else", count, []gate.Approval{yes("ana", count, "@ana", "org/sre"), yes("root", count)}, []string{team}},
		{"a member", count, []gate.Approval{yes("ana", count, "@ana", "Shop/Team")}, nil},
		{"a member, for another change", count, []gate.Approval{yes("ana", both, "shop/team")}, []string{team}},
		{"one of two", both, []gate.Approval{yes("ana", both, "org/sre", "shop/team"), yes("ana (as ben)", both, "org/sre")}, []string{sre + ", has that of ana"}},
		{"two of two, of different teams", both, []gate.Approval{yes("ana", both, "org/sre", "shop/team"), yes("eve", both, "@eve")}, nil},
		{"two of one rule, none of the other", both, []gate.Approval{yes("ana", both, "org/sre"), yes("eve", both, "@eve")}, []string{team}},
	} {
		rules := o.Of(gate.Owned{Change: c.change, Now: face, Was: face})
		var got []string
		for _, r := range gate.JudgeOwners(c.change, rules, gate.NewIndex(c.approvals, now)) {
			got = append(got, r.String())
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What is good for owners' rules lets nothing else through.
func TestOwnersOnly(t *testing.T) {
	c := change("a", schema.Delete)
	only := gate.Approval{ID: "x", By: "ana", At: now, Changes: []plan.Masked{c}, Speaks: []string{"team"}, OwnersOnly: true, Overrides: []string{"p"}}
	x := gate.NewIndex([]gate.Approval{only}, now)
	in := gate.Input{Change: c, Holds: []schema.Action{schema.Delete}}
	soft := []schema.Violation{{Policy: "p", Level: schema.SoftMandatory, Message: "no"}}
	many := []schema.Violation{{Policy: "p", Level: schema.HardMandatory, Message: "no", Approvers: 1}}
	if x.Covers(c) || len(gate.Judge(in, x)) != 1 || len(gate.JudgeReviews(c, 1, x)) != 1 || len(gate.JudgePolicies(c, soft, x).Why) != 1 || len(gate.JudgePolicies(c, many, x).Why) != 1 {
		t.Error("it counts for a hold, a review, or a policy")
	}
	rules := []*gate.OwnerRule{{Owners: []string{"team"}}}
	if got := gate.JudgeOwners(c, rules, x); len(got) > 0 {
		t.Errorf("it does not count for its owner: %v", got)
	}
	if left, used := gate.Use(c, []gate.Approval{only}, now); !used || left != nil {
		t.Errorf("it is not used up: %v", left)
	}
}

func TestOwnsInWords(t *testing.T) {
	for _, c := range []struct {
		rule gate.OwnerRule
		want string
	}{
		{rule(t, "", "", "", "", "a"), "*/*"},
		{rule(t, "vault.*", "security/** top/*", "tier=prod", "", "a"), "vault.*/* in security/**, top/* with tier: prod"},
		{rule(t, "", "", "", "/a/b /c", "a"), "*/*.a.b, */*.c"},
		{rule(t, "a.b c.d e.f", "", "", "/x /y", "a"), "a.b/*.x, a.b/*.y, c.d/*.x, c.d/*.y, 2 more"},
	} {
		got := gate.JudgeOwners(job(schema.Create, ""), []*gate.OwnerRule{&c.rule}, nil)
		if len(got) != 1 || got[0].Owns != c.want {
			t.Errorf("%+v, want %s", got, c.want)
		}
	}
	for _, bad := range []string{"", "a", "/", "//a", "/a/../b", "/[a"} {
		if _, err := gate.ParseField(bad); err == nil {
			t.Errorf("%q is a pattern of fields", bad)
		}
	}
}

// FuzzOwnersOf: whatever a change holds, a rule for every field and one for the
// resource catch it, and nothing takes the fields apart differently twice.
func FuzzOwnersOf(f *testing.F) {
	f.Add("/a/b", `{"x":[{"Name":"n"},[]]}`, `{"x":[{"Name":"m"}]}`, `{}`, true)
	f.Add("/a", `1`, ``, `[[[{"name":"/"}]]]`, false)
	f.Fuzz(func(t *testing.T, path, before, after, spec string, unknown bool) {
		every, err := gate.ParseField("/**")
		if err != nil {
			t.Fatal(err)
		}
		all := gate.NewOwners([]gate.OwnerRule{{Owners: []string{"whole"}}, {Fields: []gate.Field{every}, Owners: []string{"fields"}}})
		d := alters(schema.Path("/"+path), before, after)
		d.Unknown = unknown
		face := &gate.Face{Files: []string{"a"}, Labels: map[string]string{}}
		if got := falls(all, gate.Owned{Change: job(schema.Update, "", d), Spec: []byte(spec), Now: face}); got != "fields" {
			t.Fatalf("an update is of %q", got)
		}
		if got := falls(all, gate.Owned{Change: job(schema.Create, "", d), Spec: []byte(spec), Now: face}); got != "whole fields" {
			t.Fatalf("a create is of %q", got)
		}
	})
}
