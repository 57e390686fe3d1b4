package reconciler

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

const deskEnv = "env-desk"

// desk is a small World over memory engines and the real store, moved by hand:
// nothing happens between two turns but what a test does, and the clock stands
// still.
type desk struct {
	t     *testing.T
	eng   map[string]*memory.Engine // by target
	reg   *drivers.Registry
	path  string
	core  *core
	rev   int
	nodes []*graph.Node
}

// newDesk has an engine for each target.
func newDesk(t *testing.T, targets ...string) *desk {
	t.Helper()
	d := &desk{t: t, eng: map[string]*memory.Engine{}, path: filepath.Join(t.TempDir(), "store.db")}
	var all []drivers.Target
	for _, name := range targets {
		d.eng[name] = &memory.Engine{}
		all = append(all, drivers.Target{
			Name: name, Kinds: memory.Kinds(), Identity: name + "-1", Linger: 30 * time.Second, Concurrency: 1,
			Driver: &memory.Driver{Engine: d.eng[name], Env: deskEnv},
		})
	}
	var err error
	d.reg, err = drivers.NewRegistry(all...)
	d.must(err)
	d.load(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	t.Cleanup(func() { _ = d.core.store.Close() })
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) load(now time.Time) {
	d.t.Helper()
	st, err := store.Open(d.path, deskEnv)
	d.must(err)
	loaded, err := st.Load(d.t.Context())
	d.must(err)
	env := Env{ID: deskEnv, Name: "desk", Resync: 10 * time.Minute, Started: now}
	d.core = &core{w: NewWorld(env, d.reg, loaded), store: st}
}

// restart is the end of the process and the start of another. What was in
// flight is lost.
func (d *desk) restart() {
	d.t.Helper()
	d.must(d.core.store.Close())
	d.load(d.core.w.Now)
}

func (d *desk) world() *World { return d.core.w }

func (d *desk) pass(after time.Duration) { d.core.w.Now = d.core.w.Now.Add(after) }

// decl declares a memory.thing; alter does the rest.
func decl(name, spec string, alter ...func(*schema.Resource)) schema.Resource {
	r := schema.Resource{ID: schema.ID{Kind: memory.KindThing, Name: name}, Spec: json.RawMessage(spec), Pos: schema.Pos{File: name + ".yaml", Line: 1}}
	var fields map[string]any
	if err := json.Unmarshal(r.Spec, &fields); err != nil {
		panic(err)
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if text, ok := fields[key].(string); ok && schema.HasMark(text) {
			r.Refs = append(r.Refs, schema.FieldRef{Path: schema.Path("").Child(key), Text: text})
		}
	}
	for _, f := range alter {
		f(&r)
	}
	return r
}

func needs(names ...string) func(*schema.Resource) {
	return func(r *schema.Resource) {
		for _, name := range names {
			r.Needs = append(r.Needs, schema.Need{ID: schema.ID{Kind: memory.KindThing, Name: name}})
		}
	}
}

func at(targets ...string) func(*schema.Resource) {
	return func(r *schema.Resource) { r.Targets = targets }
}

func kind(k string) func(*schema.Resource) { return func(r *schema.Resource) { r.ID.Kind = k } }

func hold(a ...schema.Action) func(*schema.Resource) {
	return func(r *schema.Resource) { r.Hold = a }
}

func adopt(r *schema.Resource) { r.Adopt = true }

// declare puts a revision in force.
func (d *desk) declare(res ...schema.Resource) {
	d.t.Helper()
	nodes, findings := graph.Build(res, d.reg)
	if len(findings) > 0 {
		d.t.Fatal(findings)
	}
	d.nodes = nodes
	d.again()
}

// again declares the same once more, under a new revision.
func (d *desk) again() {
	d.rev++
	d.core.w.Declare(sources.Revision{ID: fmt.Sprintf("%040d", d.rev)}, d.nodes)
}

// decide is one Turn, without anything done about it. It is made twice: the
// same World gives the same Decision, and stays what it was.
func (d *desk) decide() *Decision {
	d.t.Helper()
	w := d.core.w
	before := snapshot(w)
	first := Turn(w)
	d.core.giveBack(first.Apply)
	second := Turn(w)
	d.core.giveBack(second.Apply)
	if !reflect.DeepEqual(first, second) {
		d.t.Fatalf("one World, two decisions:\n%s\n%s", told(first), told(second))
	}
	if after := snapshot(w); after != before {
		d.t.Fatalf("a turn changed the World:\n%s\nwas\n%s", after, before)
	}
	return second
}

// snapshot is all of a World that means something. Plans are left out: they
// are a cache, and from says whether they hold.
func snapshot(w *World) string {
	var b strings.Builder
	for _, n := range w.Nodes {
		_, _ = fmt.Fprintln(&b, n.Key, n.ID, n.Decl != nil, n.Owned, n.Intent, n.Live, n.Dirty, n.Op, n.Fail, n.stale, n.index, n.recheckAt, n.quiet, n.flaps, n.applied, n.wasWell, n.unwell)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Targets)) {
		_, _ = fmt.Fprintln(&b, name, w.Targets[name].Down, w.Targets[name].flight)
	}
	_, _ = fmt.Fprintf(&b, "%+v %+v %v", w.State, w.Approvals, w.seq)
	return b.String()
}

// told is what a decision starts, in words.
func told(d *Decision) string {
	var all []string
	for _, target := range slices.Sorted(maps.Keys(d.Observe)) {
		for _, n := range d.Observe[target] {
			all = append(all, "observe "+n.ID.Name)
		}
	}
	for _, p := range d.Plan {
		all = append(all, map[bool]string{true: "plan ", false: "plan without "}[p.Want != nil]+p.Node.ID.Name+map[bool]string{true: " as applied"}[p.back])
	}
	for _, n := range d.Judging {
		all = append(all, "judge "+n.ID.Name)
	}
	for _, n := range d.Apply {
		all = append(all, map[bool]string{true: "put back: "}[n.Planned.back]+string(n.Planned.Change.Action)+" "+n.ID.Name)
	}
	for _, n := range d.Record {
		all = append(all, "record "+n.ID.Name)
	}
	for _, n := range d.Forget {
		all = append(all, "forget "+n.ID.Name)
	}
	return strings.Join(all, ", ")
}

// begin decides and makes durable what must be; the calls are still to be made.
func (d *desk) begin() (string, []call) {
	d.t.Helper()
	said := told(d.decide())
	_, calls, err := d.core.step(d.t.Context())
	d.must(err)
	return said, calls
}

// end makes calls, and puts their ends into the World.
func (d *desk) end(calls []call) {
	d.t.Helper()
	var ends []end
	for _, cl := range calls {
		ends = append(ends, cl.make(d.t.Context()))
	}
	d.must(d.core.absorb(d.t.Context(), ends))
}

// step is a turn with all that follows from it, and answers what was started.
func (d *desk) step() string {
	d.t.Helper()
	said, calls := d.begin()
	d.end(calls)
	return said
}

// steps are all turns until one has nothing to start.
func (d *desk) steps() []string {
	d.t.Helper()
	var all []string
	for range 200 {
		said := d.step()
		if said == "" {
			return all
		}
		all = append(all, said)
	}
	d.t.Fatalf("it does not come to rest: %s", strings.Join(all[:20], "; "))
	return nil
}

// writes are the applies among what steps answers, in order.
func writes(said []string) string {
	var all []string
	for _, line := range said {
		for _, one := range strings.Split(line, ", ") {
			verb, _, _ := strings.Cut(one, " ")
			if slices.Contains([]string{"create", "update", "replace", "delete", "adopt"}, verb) {
				all = append(all, one)
			}
		}
	}
	return strings.Join(all, ", ")
}

// node finds the declared node of a name, else any.
func (d *desk) node(name string) *Node {
	d.t.Helper()
	for _, n := range d.core.w.Nodes {
		if n.ID.Name == name {
			return n
		}
	}
	d.t.Fatalf("no node %s", name)
	return nil
}

// states demands of each named resource "state: reason", or a beginning of it.
func (d *desk) states(want map[string]string) {
	d.t.Helper()
	dec := d.decide()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		n := d.node(name)
		e := &dec.Evals[n.index]
		reason, _ := explain(n, e)
		if got := string(e.State) + ": " + reason; !strings.HasPrefix(got, want[name]) {
			d.t.Errorf("%s is %q, want %q", name, got, want[name])
		}
	}
}

// says demands what the next turn starts.
func (d *desk) says(want string) {
	d.t.Helper()
	if got := told(d.decide()); got != want {
		d.t.Errorf("it starts %q, want %q", got, want)
	}
}

// approve lets the pending changes of these names run.
func (d *desk) approve(names ...string) {
	d.t.Helper()
	a := gate.Approval{ID: "x", By: "ana", At: d.core.w.Now}
	for _, name := range names {
		a.Changes = append(a.Changes, d.node(name).Plan.Masked)
	}
	d.core.w.Approvals = append(d.core.w.Approvals, a)
}

// moved has something happen to an object, and the driver hear of it.
func (d *desk) moved(name string, err error) {
	d.t.Helper()
	d.must(err)
	d.node(name).Dirty = true
}
