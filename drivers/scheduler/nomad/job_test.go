package nomad

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestPlace(t *testing.T) {
	d := &Driver{}
	for _, c := range []struct{ kind, spec, want string }{
		{KindJob, `{}`, "job/default/x"},
		{KindJob, `{"id":"a/b","namespace":"shop"}`, "job/shop/a/b"},
		{KindNamespace, `{}`, "namespace/x"},
		{KindNamespace, `{"name":"Shop"}`, "namespace/Shop"},
		{KindVariable, `{}`, "variable/default/x"},
		{KindVariable, `{"path":"nomad/jobs/web","namespace":"shop"}`, "variable/shop/nomad/jobs/web"},
	} {
		handle, err := d.Address(c.kind, "x", json.RawMessage(c.spec))
		if err != nil || handle != c.want {
			t.Errorf("%s %s: %q, %v", c.kind, c.spec, handle, err)
			continue
		}
		p, err := placeOf(handle)
		if err != nil || p.handle() != handle || p.kind != c.kind {
			t.Errorf("%s became %+v, %v", handle, p, err)
		}
	}
	for _, bad := range []string{"", "job/", "job/x", "job//x", "job/x/", "namespace/", "variable/x", "other/x/y", "job/a/b\x00"} {
		if p, err := placeOf(bad); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("job/default/a/b")
	f.Fuzz(func(t *testing.T, handle string) {
		if p, err := placeOf(handle); err == nil && p.handle() != handle {
			t.Errorf("%q became %q", handle, p.handle())
		}
	})
}

func TestVersion(t *testing.T) {
	for _, v := range []version{{}, {index: 17}, {17, vMissing, "a,b"}, {17, vRunning, "3"}, {1, vBatch, ""}, {1, vFinished, ""}, {1, vSpent, ""}, {23, vReverted, ""}} {
		if got := parseVersion(v.String()); got != v {
			t.Errorf("%+v became %q and %+v", v, v, got)
		}
		if v.ended() && !v.ranOnce() {
			t.Errorf("%+v ended and did not run", v)
		}
	}
	for _, bad := range []string{"", "x", "-1", "1.5 batch"} {
		if v := parseVersion(bad); v != (version{}) {
			t.Errorf("%q is %+v", bad, v)
		}
	}
}

func TestDecodeJob(t *testing.T) {
	j, err := decodeJob(json.RawMessage(`{"ID":"a","TaskGroups":[{"Name":"g","ShutdownDelay":"1m30s","Tasks":[{"Name":"t","KillTimeout":5000000000,"Config":{"KillTimeout":"7s"},"Templates":[{"Wait":{"Min":"2s"}}]}]}]}`))
	drivertest.Must(t, err)
	g := j.TaskGroups[0]
	if *g.ShutdownDelay != 90*time.Second || *g.Tasks[0].KillTimeout != 5*time.Second || g.Tasks[0].Config["KillTimeout"] != "7s" || *g.Tasks[0].Templates[0].Wait.Min != 2*time.Second {
		t.Errorf("%+v", g)
	}
	for _, bad := range []string{`{"TaskGroups":[{"ShutdownDelay":"soon"}]}`, `{"Priority":"@{a}"}`, `[`, `{"TaskGroups":{"a":1}}`} {
		if _, err := decodeJob(json.RawMessage(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func FuzzDecodeJob(f *testing.F) {
	f.Add([]byte(`{"TaskGroups":[{"Name":"g","Tasks":[{"KillTimeout":"5s","Config":{"a":[{}]}}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := decodeJob(data)
		if err != nil {
			return
		}
		if err := settleNames(j, place{KindJob, "default", value(j.ID)}); err != nil {
			return
		}
		if _, err := unseenDeltas(unseen{}, nil, j); err != nil {
			t.Fatal(err)
		}
		if _, err := createDiff(desiredJob{job: j, raw: data}); err != nil && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
			t.Fatal(err)
		}
	})
}

// diffOf is a difference as Nomad's plan answers it.
const diffOf = `{"Type":"Edited","ID":"web",
 "Fields":[{"Type":"Edited","Name":"Priority","Old":"50","New":"60"},{"Type":"Added","Name":"Meta[a.b/c]","Old":"","New":"x"},{"Type":"None","Name":"Region","Old":"a","New":"a"}],
 "Objects":[
  {"Type":"Edited","Name":"Datacenters","Fields":[{"Type":"Added","Name":"Datacenters","New":"dc2"},{"Type":"Deleted","Name":"Datacenters","Old":"dc1"},{"Type":"None","Name":"Datacenters","Old":"dc3","New":"dc3"}]},
  {"Type":"Added","Name":"Constraint","Fields":[{"Type":"Added","Name":"LTarget","New":"b"}]},
  {"Type":"Added","Name":"Constraint","Fields":[{"Type":"Added","Name":"LTarget","New":"a"}]},
  {"Type":"Edited","Name":"Scaling","Fields":[{"Type":"None","Name":"Min","Old":"1","New":"1"}]},
  {"Type":"Added","Name":"UI"}],
 "TaskGroups":[{"Type":"Edited","Name":"g","Fields":[{"Type":"Edited","Name":"Count","Old":"1","New":"2"}],"Tasks":[
   {"Type":"Edited","Name":"t","Objects":[
     {"Type":"Edited","Name":"Config","Fields":[{"Type":"Edited","Name":"args[0]","Old":"a","New":"true"}]},
     {"Type":"Edited","Name":"Service","Fields":[{"Type":"None","Name":"Name","Old":"web","New":"web"},{"Type":"Edited","Name":"PortLabel","Old":"","New":"http"}],
      "Objects":[{"Type":"Deleted","Name":"ConsulConnect","Fields":[{"Type":"Deleted","Name":"Native","Old":"true"}]}]}]},
   {"Type":"Deleted","Name":"gone"}]},
  {"Type":"None","Name":"same","Fields":[{"Type":"Edited","Name":"Count","Old":"1","New":"2"}]}]}`

func TestDeltasOf(t *testing.T) {
	var diff api.JobDiff
	drivertest.Must(t, json.Unmarshal([]byte(diffOf), &diff))
	var got []string
	for _, d := range deltasOf(&diff) {
		got = append(got, fmt.Sprintf("%s %s %s>%s", d.Op, string(d.Path), d.Before, d.After))
	}
	want := []string{
		`create /job/Constraints/0/LTarget >"a"`, `create /job/Constraints/1/LTarget >"b"`,
		`delete /job/Datacenters/dc1 "dc1">`, `create /job/Datacenters/dc2 >"dc2"`,
		`create /job/Meta/a.b~1c >"x"`, `update /job/Priority 50>60`,
		`update /job/TaskGroups/g/Count 1>2`,
		`delete /job/TaskGroups/g/Tasks/gone "">`,
		`update /job/TaskGroups/g/Tasks/t/Config/args/0 "a">true`,
		`delete /job/TaskGroups/g/Tasks/t/Services/web/Connect/Native true>`,
		`update /job/TaskGroups/g/Tasks/t/Services/web/PortLabel "">"http"`,
		`create /job/UI >""`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if deltasOf(&api.JobDiff{Type: "None"}) != nil || deltasOf(nil) != nil {
		t.Error("nothing differs, and there are deltas")
	}
}

func FuzzDeltasOf(f *testing.F) {
	f.Add([]byte(diffOf))
	f.Fuzz(func(t *testing.T, data []byte) {
		var diff api.JobDiff
		if json.Unmarshal(data, &diff) != nil {
			return
		}
		seen := map[schema.Path]bool{}
		for _, d := range deltasOf(&diff) {
			if seen[d.Path] {
				t.Fatalf("%s stands twice", d.Path)
			}
			seen[d.Path] = true
		}
	})
}

func TestUnnamed(t *testing.T) {
	planned := []drivers.Delta{{Path: "/job/TaskGroups/g/Tasks/t/Lifecycle/Hook"}, {Path: "/job/TaskGroups/h"}}
	got := unnamed([]drivers.Delta{{Path: "/job/Spreads"}, {Path: "/job/TaskGroups/g/Tasks/t/Lifecycle"}, {Path: "/job/TaskGroups/h/Spreads"}}, planned)
	if len(got) != 1 || got[0].Path != "/job/Spreads" {
		t.Errorf("%+v", got)
	}
}

func TestMarkUnknown(t *testing.T) {
	text := `@{a/b.c["x"]}`
	diff := []drivers.Delta{{Path: "/job/Meta/a", After: quote("see " + text)}, {Path: "/job/Name", After: quote("x")}}
	got := markUnknown(diff, map[schema.Path]string{"/vars/v": text, "/job/Meta/a": "see " + text}, true)
	if len(got) != 3 || !got[0].Unknown || got[1].Unknown || got[2].Path != "/vars/v" || !got[2].Unknown || got[2].Op != schema.Update {
		t.Errorf("%+v", got)
	}
}

func TestKeepScaled(t *testing.T) {
	for name, c := range map[string]struct {
		scaling    string
		live, want int
	}{
		"none": {`null`, 3, 1}, "on": {`{"Min":1,"Max":5}`, 3, 3}, "off": {`{"Min":1,"Max":5,"Enabled":false}`, 3, 1},
		"too many": {`{"Min":1,"Max":2}`, 3, 2}, "too few": {`{"Min":2,"Max":5}`, 1, 2},
	} {
		j, err := decodeJob(json.RawMessage(`{"TaskGroups":[{"Name":"g","Count":1,"Scaling":` + c.scaling + `},{"Name":"new","Count":1,"Scaling":{"Max":9}}]}`))
		drivertest.Must(t, err)
		keepScaled(j, &facts{counts: map[string]int{"g": c.live}})
		if *j.TaskGroups[0].Count != c.want || *j.TaskGroups[1].Count != 1 {
			t.Errorf("%s: %d, %d", name, *j.TaskGroups[0].Count, *j.TaskGroups[1].Count)
		}
	}
}

func TestCheckStructure(t *testing.T) {
	d := &Driver{}
	for spec, want := range map[string]string{
		`{"job":{"TaskGroups":[{"Name":"g"}]}}`:              "",
		`{"job":{"ID":"web","Namespace":"default"}}`:         "",
		`{"job":{"ID":"other"}}`:                             `the job calls itself "other"`,
		`{"job":{"Namespace":"shop"}}`:                       `the job says namespace "shop"`,
		`{"job":{"Meta":{"aplomb_environment":"x"}}}`:        "is aplomb's own",
		`{"job":{"TaskGroups":[{"Name":"g"},{"Name":"g"}]}}`: "TaskGroups[1]: a group needs a name of its own",
		`{"job":{"TaskGroups":[{}]}}`:                        "TaskGroups[0]",
		`{"job":{"Update":{"Stagger":"soon"}}}`:              "is not a duration",
		`{"hcl":"x","job":{}}`:                               "one of hcl and job must be there",
	} {
		err := d.Check(KindJob, "web", drivers.Desired{Spec: json.RawMessage(spec)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", spec, err, want)
		}
	}
	open := drivers.Desired{Spec: json.RawMessage(`{"job":{"Priority":"@{a/b.c}","TaskGroups":[{"Name":"@{a/b.d}"}]}}`),
		Unknown: map[schema.Path]string{"/job/Priority": "@{a/b.c}", "/job/TaskGroups/0/Name": "@{a/b.d}"}}
	if err := d.Check(KindJob, "web", open); err != nil {
		t.Errorf("what is not known was judged: %v", err)
	}
}

func TestCheckOthers(t *testing.T) {
	d := &Driver{}
	for _, c := range []struct{ kind, spec, want string }{
		{KindVariable, `{"items":{"a":"b"}}`, ""},
		{KindVariable, `{"items":{"a":"b"},"path":"nomad/jobs/web"}`, ""},
		{KindVariable, `{"items":{"a":"b"},"path":"nomad/other"}`, "Nomad's own"},
		{KindVariable, `{"items":{"a":"b"},"path":"a b"}`, "no path of a variable"},
		{KindVariable, `{"items":{}}`, "without items"},
		{KindVariable, `{"items":{"aplomb_environment":"b"}}`, "aplomb's own"},
		{KindVariable, `{"items":{"a":"` + strings.Repeat("x", 70_000) + `"}}`, "68 KiB"},
		{KindNamespace, `{"meta":{"a":"b"}}`, ""},
		{KindNamespace, `{"meta":{"aplomb_environment":"b"}}`, "aplomb's own"},
		{"no.kind", `{}`, "no such kind"},
	} {
		err := d.Check(c.kind, "x", drivers.Desired{Spec: json.RawMessage(c.spec)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %.60s: %v; want %q", c.kind, c.spec, err, c.want)
		}
	}
}

func TestWhyUnplaced(t *testing.T) {
	got := whyUnplaced(map[string]*api.AllocationMetric{
		"web": {NodesEvaluated: 3, DimensionExhausted: map[string]int{"memory": 1, "cpu": 2}, ConstraintFiltered: map[string]int{"${a} = b": 1}},
		"db":  {}, "q": {NodesEvaluated: 1, QuotaExhausted: []string{"cpu"}, ClassFiltered: map[string]int{"big": 1}},
	})
	const want = `db cannot be placed: no node is eligible; q cannot be placed: class big leaves out 1 node, quota exhausted: cpu; web cannot be placed: cpu exhausted on 2 nodes, memory exhausted on 1 node, the constraint "${a} = b" leaves out 1 node`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// answered is what Nomad's client makes of an answer.
func answered(t *testing.T, status int, body string) error {
	t.Helper()
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, status) })
	c, err := api.NewClient(&api.Config{Address: s})
	drivertest.Must(t, err)
	_, _, err = c.Jobs().Info("x", nil)
	return err
}

func TestFail(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  error
	}{
		{500, "Enforcing job modify index 0: job already exists", drivers.ErrStale},
		{500, "1 error occurred:\n\t* job priority must be between [1, 100]", drivers.ErrPermanent},
		{500, "No cluster leader", drivers.ErrRetryable},
		{500, "rpc error: EOF", drivers.ErrRetryable},
		{500, "something else", drivers.ErrRetryable},
		{400, "Failed to parse job", drivers.ErrPermanent},
		{403, "Permission denied", drivers.ErrDenied},
		{429, "too many", drivers.ErrRetryable},
		{503, "", drivers.ErrUnreachable},
		{409, "", drivers.ErrStale},
	} {
		err := fail("read", "x", answered(t, c.status, c.body))
		if drivers.Class(err) != c.class || !drivers.Answered(err) {
			t.Errorf("%d %s: %v is of class %v, answered %t", c.status, c.body, err, drivers.Class(err), drivers.Answered(err))
		}
	}
	if err := fail("read", "x", errors.New(`Get "http://h/v1/jobs?namespace=%2A&x=y": dial tcp: refused`)); drivers.Class(err) != drivers.ErrUnreachable || strings.Contains(err.Error(), "namespace=") {
		t.Errorf("%v", err)
	}
	if fail("read", "x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestScrubbed(t *testing.T) {
	items := map[string]string{"a": "c4n4ry"}
	for status, class := range map[int]error{400: drivers.ErrPermanent, 403: drivers.ErrDenied, 429: drivers.ErrRetryable, 500: drivers.ErrRetryable} {
		err := fail("write", "x", scrubbed(answered(t, status, "you said c4n4ry"), items))
		if strings.Contains(fmt.Sprintf("%v %+v %#v %s", err, err, err, drivers.HintOf(err)), "c4n4ry") || drivers.Class(err) != class {
			t.Errorf("%d: %v, class %v", status, err, drivers.Class(err))
		}
	}
}
