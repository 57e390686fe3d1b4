//go:build e2e

package nomad

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// job is one job that a test drives, and looks at behind the driver's back.
type job struct {
	*drivertest.Resource
	b *bench
}

func (b *bench) job(t testing.TB, name, spec string) *job {
	t.Helper()
	return &job{drivertest.NewResource(t, b.driver(), KindJob, name, drivers.Desired{Spec: json.RawMessage(spec)}), b}
}

func (j *job) want(spec string) { j.Item.Want = &drivers.Desired{Spec: json.RawMessage(spec)} }

// becomes waits for a health, and answers its reason.
func (j *job) becomes(want drivers.HealthStatus) string {
	j.T.Helper()
	var h drivers.Health
	defer func() {
		if h.Status != want {
			j.T.Logf("its health is %+v", h)
		}
	}()
	eventually(j.T, j.Item.Handle+" being "+string(want), func() bool {
		h = j.Observe().Health
		return h.Status == want
	})
	return h.Reason
}

// record keeps what an inventory keeps of a thing that planning has nothing to
// do for.
func (j *job) record() drivers.State {
	j.T.Helper()
	s := j.Observe()
	if c := j.Plan(); c.Action != schema.None {
		j.T.Fatalf("planned %s with %+v", c.Action, c.Diff)
	}
	j.Item.Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: j.Item.Want.Spec, Files: j.Item.Want.Files.Hash()}
	return s
}

func (j *job) live() *api.Job {
	j.T.Helper()
	p, err := placeOf(j.Item.Handle)
	drivertest.Must(j.T, err)
	live, _, err := j.b.api.Jobs().Info(p.name, &api.QueryOptions{Namespace: p.namespace})
	drivertest.Must(j.T, err)
	return live
}

// allocations are the ids of the allocations that are to run.
func (j *job) allocations() []string {
	j.T.Helper()
	all, _, err := j.b.api.Jobs().Allocations(*j.live().ID, false, nil)
	drivertest.Must(j.T, err)
	var ids []string
	for _, a := range all {
		if a.DesiredStatus == "run" {
			ids = append(ids, a.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestLife: a service is made, altered, stopped and scaled by others, and
// purged; what it does in between is put right without a registration more.
func TestLife(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "web", sleeper("2", ""))
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	before := j.allocations()
	if len(before) != 2 || *j.live().Version != 0 {
		t.Fatalf("%d allocations, version %d", len(before), *j.live().Version)
	}
	j.record()

	_, _, err := b.api.Jobs().Deregister("web", false, nil)
	drivertest.Must(t, err)
	j.becomes(drivers.Unhealthy)
	if c := j.Plan(); c.Why != "it was stopped" || len(c.Diff) != 1 || c.Diff[0].Path != "/job/Stop" {
		t.Errorf("of a stopped job it says %q, %+v", c.Why, c.Diff)
	}
	j.Settle(schema.Update)
	j.becomes(drivers.Healthy)

	n := 3
	_, _, err = b.api.Jobs().Scale("web", "web", &n, "", false, nil, nil)
	drivertest.Must(t, err)
	if c := j.Plan(); len(c.Diff) != 1 || c.Diff[0].Path != "/job/TaskGroups/web/Count" || string(c.Diff[0].Before) != "3" || string(c.Diff[0].After) != "2" {
		t.Errorf("of a scaled job it says %+v", c.Diff)
	}
	j.Settle(schema.Update)
	j.becomes(drivers.Healthy)

	killed := j.allocations()[0]
	_, err = b.api.Allocations().Stop(&api.Allocation{ID: killed}, nil)
	drivertest.Must(t, err)
	eventually(t, "a replacement", func() bool { return len(j.allocations()) == 2 && !slices.Contains(j.allocations(), killed) })
	j.becomes(drivers.Healthy)
	j.record()

	version := *j.live().Version
	for range 3 {
		j.record()
	}
	if now := *j.live().Version; now != version {
		t.Errorf("looking made version %d of %d", now, version)
	}
	j.Item.Want = nil
	j.Settle(schema.Delete)
	if j.Observe().Exists {
		t.Error("it lives still")
	}
}

// TestAdoptionRestartsNothing: what others run is taken over as it is, altered
// where it differs, and goes on without a mark.
func TestAdoptionRestartsNothing(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "web", sleeper("1", ""))
	b.put(t, b.driver(), nil, j.Item.Handle, sleeper("1", ""), "")
	j.becomes(drivers.Healthy)
	before := j.allocations()
	c := j.Plan()
	if c.Action != schema.Adopt || len(c.Diff) > 0 {
		t.Fatalf("%s, %+v", c.Action, c.Diff)
	}
	_, err := j.Apply(c)
	drivertest.Must(t, err)
	j.record()
	if live := j.live(); *live.Version != 0 || live.Meta[Mark] != "" {
		t.Errorf("version %d, mark %q", *live.Version, live.Meta[Mark])
	}
	j.want(sleeper("2", ""))
	j.Settle(schema.Update)
	j.becomes(drivers.Healthy)
	if after := j.allocations(); len(after) != 2 || !slices.Contains(after, before[0]) {
		t.Errorf("%q became %q", before, after)
	}
	j.Item.Want = nil
	j.Settle(schema.Delete)
}

// TestAutoscaledCount: what an autoscaler set stays, within the declared bounds.
func TestAutoscaledCount(t *testing.T) {
	b := newBench(t)
	spec := func(most int) string {
		return strings.Replace(sleeper("1", ""), `"Name":"web"`, `"Scaling":{"Enabled":true,"Max":`+strconv.Itoa(most)+`,"Min":1,"Policy":{}},"Name":"web"`, 1)
	}
	j := b.job(t, "web", spec(4))
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	n := 3
	_, _, err := b.api.Jobs().Scale("web", "web", &n, "", false, nil, nil)
	drivertest.Must(t, err)
	j.record()
	j.want(strings.Replace(spec(4), `"shop"`, `"market"`, 1))
	j.Settle(schema.Update)
	if got := *j.live().TaskGroups[0].Count; got != 3 {
		t.Errorf("the count became %d", got)
	}
	j.want(spec(2))
	j.Settle(schema.Update)
	if got := *j.live().TaskGroups[0].Count; got != 2 {
		t.Errorf("beyond its bounds the count is %d", got)
	}
}

// TestMissingAllocations: where a plan would place what is gone, Nomad is asked
// to; the job stays as it is.
func TestMissingAllocations(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "web", sleeper("1", ""))
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	doctor := func(r *http.Response) {
		if !strings.HasSuffix(r.Request.URL.Path, "/plan") {
			return
		}
		body, err := io.ReadAll(r.Body)
		drivertest.Must(t, err)
		body = bytes.Replace(body, []byte(`"Place":0`), []byte(`"Place":1`), 1)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	b.doctor.Store(&doctor)
	c := j.Plan()
	b.doctor.Store(nil)
	if c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != "/!allocations/web" {
		t.Fatalf("%s, %+v", c.Action, c.Diff)
	}
	before, _, err := b.api.Jobs().Evaluations("web", nil)
	drivertest.Must(t, err)
	_, err = j.Apply(c)
	drivertest.Must(t, err)
	after, _, err := b.api.Jobs().Evaluations("web", nil)
	drivertest.Must(t, err)
	if len(after) != len(before)+1 || *j.live().Version != 0 {
		t.Errorf("%d evaluations became %d, version %d", len(before), len(after), *j.live().Version)
	}
	j.becomes(drivers.Healthy)
	j.record()
}

// TestExhausted: what Nomad's own policy gives up on is unhealthy, and is left
// to people.
func TestExhausted(t *testing.T) {
	b := newBench(t)
	spec := strings.Replace(sleeper("1", ""), `"Name":"web"`, `"RestartPolicy":{"Attempts":0,"Mode":"fail"},"ReschedulePolicy":{"Attempts":0,"Unlimited":false},"Name":"web"`, 1)
	j := b.job(t, "web", strings.Replace(spec, `"3600"`, `"2"`, 1))
	j.Settle(schema.Create)
	if why := j.becomes(drivers.Unhealthy); !strings.Contains(why, "Nomad replaces nothing") {
		t.Errorf("it says %q", why)
	}
	j.record()
}

// TestReplaceTakesTheChildren: a periodic job that becomes a plain one goes with
// what it launched.
func TestReplaceTakesTheChildren(t *testing.T) {
	b := newBench(t)
	periodic := batch("/bin/true", `,"Periodic":{"Enabled":true,"Spec":"0 0 1 1 *","SpecType":"cron"}`)
	j := b.job(t, "tick", periodic)
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	_, _, err := b.api.Jobs().PeriodicForce("tick", nil)
	drivertest.Must(t, err)
	children := func() int {
		list, _, err := b.api.Jobs().PrefixList("tick/")
		drivertest.Must(t, err)
		return len(list)
	}
	eventually(t, "a launch", func() bool { return children() == 1 })
	j.record()
	j.want(batch("/bin/true", ""))
	c := j.Plan()
	if c.Action != schema.Replace || c.Diff[slices.IndexFunc(c.Diff, func(d drivers.Delta) bool { return d.Op == schema.Replace })].Path != "/job/Periodic" {
		t.Fatalf("%s, %+v", c.Action, c.Diff)
	}
	_, err = j.Apply(c)
	drivertest.Must(t, err)
	if n := children(); n != 0 {
		t.Errorf("%d launches are left", n)
	}
	j.becomes(drivers.Healthy)
	j.want(batch("/bin/true", `,"ParameterizedJob":{"Payload":"optional"}`))
	if c := j.Plan(); c.Action != schema.Replace || c.Hold == "" {
		t.Errorf("%s", c.Action)
	}
	j.want(batch("/bin/true", `,"Priority":5000,"Periodic":{"Enabled":true,"Spec":"0 0 1 1 *","SpecType":"cron"}`))
	if _, err := j.Driver.Plan(t.Context(), j.Item, j.Observe()); drivers.Class(err) != drivers.ErrPermanent {
		t.Errorf("a replacement that Nomad would refuse is planned: %v", err)
	}
}
