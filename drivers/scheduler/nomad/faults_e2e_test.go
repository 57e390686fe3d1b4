//go:build e2e

package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

// attempt observes, plans and applies once, as the reconciler would, and says
// whether nothing is left to do.
func attempt(ctx context.Context, d drivers.Driver, it *drivers.Item) (bool, error) {
	states, err := d.Observe(ctx, []drivers.Item{*it})
	if err != nil {
		return false, err
	}
	if states[0].Err != nil {
		return false, states[0].Err
	}
	c, err := d.Plan(ctx, *it, states[0])
	if err != nil {
		return false, err
	}
	if c.Action == schema.None {
		return true, nil
	}
	s, err := d.Apply(ctx, c)
	if err == nil && it.Want != nil {
		it.Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: it.Want.Spec}
	}
	return false, err
}

// TestFaults: whatever happens between a driver and Nomad, at whichever
// request, a thing is made once, altered once, and gone in the end.
func TestFaults(t *testing.T) {
	specs := map[string][2]string{
		KindJob:       {sleeper("0", ""), sleeper("0", `,"Priority":60`)},
		KindNamespace: {`{"description":"a","meta":{}}`, `{"description":"b","meta":{}}`},
		KindVariable:  {`{"items":{"a":"b"}}`, `{"items":{"a":"c"}}`},
	}
	for name, fault := range map[string]enginetest.Fault{
		"refused": enginetest.Refuse, "slow": enginetest.Slow, "busy": enginetest.Busy, "broken": enginetest.Broken, "cut": enginetest.Cut, "lost": enginetest.Lost,
	} {
		for kind, spec := range specs {
			t.Run(name+"/"+kind, func(t *testing.T) {
				b := newBench(t)
				b.proxy.Delay = 300 * time.Millisecond
				for at := range int64(4) { // which request of each step goes wrong
					d := b.driver()
					r := drivertest.NewResource(t, d, kind, fmt.Sprint("f-", at), drivers.Desired{Spec: json.RawMessage(spec[0])})
					b.struggle(t, d, &r.Item, fault, at)
					r.Item.Want = &drivers.Desired{Spec: json.RawMessage(spec[1])}
					b.struggle(t, d, &r.Item, fault, at)
					if kind == KindJob {
						p, _ := placeOf(r.Item.Handle) // it was made by Address
						live, _, err := b.api.Jobs().Info(p.name, nil)
						drivertest.Must(t, err)
						if *live.Version != 1 {
							t.Errorf("request %d: %d registrations", at, *live.Version+1)
						}
					}
					r.Item.Want = nil
					b.struggle(t, d, &r.Item, fault, at)
				}
			})
		}
	}
}

// struggle attempts until nothing is left to do, while one request of each of
// the first attempts goes wrong.
func (b *bench) struggle(t *testing.T, d drivers.Driver, it *drivers.Item, fault enginetest.Fault, at int64) {
	t.Helper()
	attempts := 0
	eventually(t, it.ID.String(), func() bool {
		attempts++
		var n atomic.Int64
		early := attempts < 4
		b.proxy.Meddle(func(*http.Request) enginetest.Fault {
			if n.Add(1)-1 == at && early {
				return fault
			}
			return enginetest.Pass
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done, err := attempt(ctx, d, it)
		switch class := drivers.Class(err); {
		case err == nil:
		case class == drivers.ErrPermanent, class == drivers.ErrDenied:
			t.Fatalf("request %d: %v", at, err)
		}
		return done && !early
	})
	b.proxy.Meddle(nil)
}

// TestNothingIsAskedOfWhatIsUnchanged counts requests.
func TestNothingIsAskedOfWhatIsUnchanged(t *testing.T) {
	b := newBench(t)
	d := b.driver()
	var items []drivers.Item
	make := func(kind, name, spec string) {
		r := drivertest.NewResource(t, d, kind, name, drivers.Desired{Spec: json.RawMessage(spec)})
		r.Settle(schema.Create)
		items = append(items, r.Item)
	}
	for i := range 20 {
		make(KindJob, fmt.Sprint("zero-", i), sleeper("0", ""))
		make(KindVariable, fmt.Sprint("v-", i), `{"items":{"a":"b"}}`)
		make(KindNamespace, fmt.Sprint("n-", i), `{"description":"","meta":{}}`)
	}
	make(KindJob, "runs", sleeper("1", ""))
	make(KindJob, "ended", batch("/bin/true", ""))
	look := func() []drivers.State {
		states, err := d.Observe(t.Context(), items)
		drivertest.Must(t, err)
		return states
	}
	eventually(t, "health", func() bool {
		for i, s := range look() {
			if s.Health.Status != drivers.Healthy {
				return false
			}
			items[i].Last.Version = s.Version // it is recorded
		}
		return true
	})
	look()
	b.proxy.Requests()
	states := look()
	if got := b.proxy.Requests(); len(got) != 3 || got["GET /v1/jobs"] != 1 || got["GET /v1/vars"] != 1 || got["GET /v1/namespaces"] != 1 {
		t.Errorf("a look at all asks %v", got)
	}
	for i, s := range states {
		if s.Version != items[i].Last.Version {
			t.Errorf("%s: version %q became %q", s.Handle, items[i].Last.Version, s.Version)
		}
	}
	items = items[:1]
	if look(); len(b.proxy.Requests()) != 1 {
		t.Error("a look at one asks more than one request")
	}
}

// TestCreateCosts: a job is made by its registration and one read.
func TestCreateCosts(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "web", sleeper("0", ""))
	state := j.Observe()
	b.proxy.Requests()
	c, err := j.Driver.Plan(t.Context(), j.Item, state)
	drivertest.Must(t, err)
	_, err = j.Apply(c)
	drivertest.Must(t, err)
	if got := b.proxy.Requests(); len(got) != 2 || got["PUT /v1/jobs"] != 1 || got["GET /v1/job/web"] != 1 {
		t.Errorf("a create asks %v", got)
	}
}

// TestParsedOnce: a file with the same variables is parsed once.
func TestParsedOnce(t *testing.T) {
	b := newBench(t)
	d := b.driver()
	r := drivertest.NewResource(t, d, KindJob, "one", drivers.Desired{Spec: json.RawMessage(`{"hcl":"jobs/one.nomad.hcl","vars":{"team":"a ${b} \"c\" %{d}"}}`), Files: jobFiles})
	b.proxy.Requests()
	r.Settle(schema.Create)
	if n := b.proxy.Requests()["PUT /v1/jobs/parse"]; n != 1 {
		t.Errorf("parsed %d times", n)
	}
	live, _, err := b.api.Jobs().Info("one", nil)
	drivertest.Must(t, err)
	if got := live.Meta["team"]; got != `a ${b} "c" %{d}` {
		t.Errorf("the variable arrived as %q", got)
	}
	sub, _, err := b.api.Jobs().Submission("one", 0, nil)
	drivertest.Must(t, err)
	if sub == nil || !strings.Contains(sub.Source, `job "one"`) {
		t.Errorf("Nomad keeps %+v as its source", sub)
	}
	want := *r.Item.Want
	want.Spec = json.RawMessage(`{"hcl":"jobs/one.nomad.hcl","vars":{"count":"@{a/b.c}","team":"x"}}`)
	want.Unknown = map[schema.Path]string{"/vars/count": "@{a/b.c}"}
	r.Item.Want = &want
	if c := r.Plan(); c.Action != schema.Deferred {
		t.Errorf("a number that is not known is planned as %s", c.Action)
	}
}

// TestNamespaceGoesLast: one that jobs live in waits, and says why.
func TestNamespaceGoesLast(t *testing.T) {
	b := newBench(t)
	n := drivertest.NewResource(t, b.driver(), KindNamespace, "shop", drivers.Desired{Spec: json.RawMessage(`{"description":"","meta":{}}`)})
	n.Settle(schema.Create)
	j := b.job(t, "web", `{"namespace":"shop",`+sleeper("1", "")[1:])
	j.Settle(schema.Create)
	v := drivertest.NewResource(t, b.driver(), KindVariable, "cfg", drivers.Desired{Spec: json.RawMessage(`{"items":{"a":"b"},"namespace":"shop"}`)})
	v.Settle(schema.Create)
	if needs := b.driver().Needs(KindJob, "web", *j.Item.Want); needs[0] != n.Item.Handle {
		t.Errorf("it needs %q", needs)
	}
	n.Item.Want = nil
	_, err := n.Apply(n.Plan())
	if !errors.Is(err, drivers.ErrWaiting) || !strings.Contains(err.Error(), "non-terminal") {
		t.Errorf("%v", err)
	}
	j.Item.Want = nil
	j.Settle(schema.Delete)
	v.Item.Want = nil
	v.Settle(schema.Delete)
	eventually(t, "its going", func() bool {
		_, err := n.Apply(n.Plan())
		return err == nil
	})
}

// TestVariablesAreNotRead: one that is as it was left is not read, one that
// somebody altered is, and only what differs is told.
func TestVariablesAreNotRead(t *testing.T) {
	b := newBench(t)
	v := drivertest.NewResource(t, b.driver(), KindVariable, "cfg", drivers.Desired{Spec: json.RawMessage(`{"items":{"a":"b","c":"d"}}`)})
	v.Settle(schema.Create)
	b.proxy.Requests()
	v.Driver = b.driver()
	v.Plan()
	if got := b.proxy.Requests(); len(got) != 1 {
		t.Errorf("a look asks %v", got)
	}
	b.put(t, nil, nil, v.Item.Handle, `{"items":{"a":"b","c":"other"}}`, env)
	if c := v.Plan(); len(c.Diff) != 1 || c.Diff[0].Path != "/items/c" || strings.Contains(fmt.Sprint(c), "other") {
		t.Errorf("%+v", c)
	}
	v.Settle(schema.Update)
	live, _, err := b.api.Variables().Read("cfg", nil)
	drivertest.Must(t, err)
	if live.Items["c"] != "d" || live.Items[Mark] != env || len(live.Items) != 3 {
		t.Errorf("%v", live.Items)
	}
}

// TestWatchHears of what happens to jobs, and looks at everything whenever it
// begins to listen.
func TestWatchHears(t *testing.T) {
	b := newBench(t)
	d := b.driver()
	j := b.job(t, "web", sleeper("1", ""))
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan []string, 1000), make(chan error, 1)
	go func() { ended <- d.Watch(ctx, func(handles ...string) { heard <- handles }) }()
	next := func(what string, yes func([]string) bool) {
		t.Helper()
		limit := time.NewTimer(2 * time.Minute)
		defer limit.Stop()
		for {
			select {
			case handles := <-heard:
				if yes(handles) {
					return
				}
			case <-limit.C:
				t.Fatalf("nothing was heard of %s", what)
			}
		}
	}
	about := func(handles []string) bool { return len(handles) == 1 && handles[0] == j.Item.Handle }
	next("the beginning", func(handles []string) bool { return handles == nil })
	j.Settle(schema.Create)
	next("the registration", about)
	j.becomes(drivers.Healthy)
	for len(heard) > 0 {
		<-heard
	}
	_, err := b.api.Allocations().Stop(&api.Allocation{ID: j.allocations()[0]}, nil)
	drivertest.Must(t, err)
	next("the kill", about)
	b.proxy.Meddle(func(*http.Request) enginetest.Fault { return enginetest.Refuse })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("%v", err)
	}
	if err := d.Watch(t.Context(), func(...string) {}); drivers.Class(err) != drivers.ErrUnreachable {
		t.Errorf("a watch that nobody answers ends with %v", err)
	}
}
