package reconciler

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

var (
	seeds    = flag.Int("seeds", 150, "seeds for each set of quirks")
	oneSeed  = flag.Uint64("seed", 0, "this seed alone, told step by step")
	oneQuirk = flag.String("quirk", "", "this set of quirks alone")
)

// quirkSets are the engines that the simulation runs over.
func quirkSets() map[string]memory.Quirks {
	return map[string]memory.Quirks{
		"none":        {},
		"noCAS":       {NoCAS: true},
		"engineIDs":   {EngineIDs: true},
		"noNonce":     {EngineIDs: true, NonceUnsupported: true},
		"noMarks":     {NoMarks: true},
		"writeOnly":   {WriteOnly: true},
		"opaque":      {OpaquePlans: true},
		"twoCalls":    {TwoCallCreates: true},
		"noisy":       {NoisyDefaults: true},
		"deferred":    {Deferred: true},
		"slowPlans":   {SlowPlans: 2},
		"slowHealth":  {SlowHealth: 5},
		"slowDeletes": {SlowDeletes: 4},
		"torn":        {TornReads: 3},
		"late":        {LateLanding: 5},
		"lateNoCAS":   {LateLanding: 5, NoCAS: true},
		"faults":      {FaultBefore: 0.1, FaultAfter: 0.1, FaultRead: 0.05, FaultReveal: 0.2},
		"faultsIDs":   {FaultBefore: 0.1, FaultAfter: 0.1, EngineIDs: true},
		"hard":        {LateLanding: 4, FaultAfter: 0.1, FaultBefore: 0.1, EngineIDs: true, TwoCallCreates: true, SlowHealth: 3, SlowDeletes: 3, TornReads: 2, NoisyDefaults: true},
		"hardNoMarks": {LateLanding: 4, FaultAfter: 0.1, NoMarks: true, NoCAS: true, TwoCallCreates: true, SlowDeletes: 3, OpaquePlans: true},
	}
}

// coverage counts at which steps the simulation has killed.
type coverage struct {
	mu    sync.Mutex
	steps map[string]int
}

func (c *coverage) hit(step string) {
	c.mu.Lock()
	c.steps[step]++
	c.mu.Unlock()
}

// TestKillAtEveryStep runs the World over the memory engine with every quirk,
// kills it before and after every journal write and every engine write, and
// demands of every restart that it converges with nothing doubled, lost or
// orphaned.
func TestKillAtEveryStep(t *testing.T) {
	cov := &coverage{steps: map[string]int{}}
	t.Run("quirks", func(t *testing.T) {
		for name, q := range quirkSets() {
			if *oneQuirk != "" && name != *oneQuirk {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for seed := uint64(1); seed <= uint64(*seeds); seed++ {
					if *oneSeed != 0 && seed != *oneSeed {
						continue
					}
					if err := simulate(t, seed, q, cov); err != nil {
						t.Fatalf("seed %d: %v\nagain with: go test ./reconciler -run KillAtEveryStep -quirk %s -seed %d -seeds %d", seed, err, name, seed, seed)
					}
				}
			})
		}
	})
	if *oneSeed != 0 || *oneQuirk != "" || t.Failed() {
		return
	}
	for _, step := range slices.Sorted(maps.Keys(cov.steps)) {
		t.Logf("at %-16s %6d times", step, cov.steps[step])
	}
	for _, step := range journalSteps {
		if cov.steps[step] == 0 {
			t.Errorf("nothing was done at %q", step)
		}
	}
}

// journalSteps must all be covered: by the kills, and what is put back under a
// held change by being done at all.
var journalSteps = []string{
	"begin:before", "begin:after", "finish:before", "finish:after",
	"before create", "after create", "before patch", "after patch", "before delete", "after delete", "before fill", "after fill", "idle", "put back",
}

var errKilled = errors.New("killed")

type sim struct {
	t       *testing.T
	rng     *rand.Rand
	eng     *memory.Engine
	drv     *memory.Driver
	quirks  memory.Quirks
	path    string
	now     time.Time
	core    *core
	pending []call
	decl    []*graph.Node
	rev     int
	fuse    int // hook calls until the next kill; below 0: none
	cov     *coverage
	trouble bool // foreign hands, kills and outages may happen
	last    *Decision
	foreign map[string]bool // handles at which somebody else made a thing
	taken   map[string]bool // of those, the ones that were taken over
	windows calendar.Calendar
}

const simEnv = "env-sim"

func simulate(t *testing.T, seed uint64, q memory.Quirks, cov *coverage) error {
	s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 7)), eng: &memory.Engine{Seed: seed, Quirks: q}, quirks: q, cov: cov,
		path: filepath.Join(fastDir(t), "store.db"), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), trouble: true, foreign: map[string]bool{}, taken: map[string]bool{}}
	defer func() {
		if s.core != nil {
			_ = s.core.store.Close()
		}
		_ = os.RemoveAll(filepath.Dir(s.path))
	}()
	if seed%2 == 1 {
		s.windows = opening(t, "*/10 * * * *", 3*time.Minute)
	}
	s.eng.Hook = func(op, _ string) error { return s.burn(op) }
	s.fuse = 1 + s.rng.IntN(25)
	if err := s.restart(); err != nil {
		return err
	}
	for range 3 {
		if err := s.declare(s.draw(1 + s.rng.IntN(7))); err != nil {
			return err
		}
		if err := s.run(s.rng.IntN(60), true); err != nil {
			return err
		}
	}
	s.trouble, s.fuse = false, -1
	if err := s.settle(); err != nil {
		return err
	}
	if err := s.check(s.alive()); err != nil {
		return err
	}
	if err := s.declare(nil); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return fmt.Errorf("deleting everything: %w", err)
	}
	return s.check(0)
}

// burn is called at every step at which the process could die.
func (s *sim) burn(step string) error {
	if s.fuse < 0 {
		return nil
	}
	if s.fuse--; s.fuse > 0 {
		return nil
	}
	s.cov.hit(step)
	s.fuse = -1
	s.say("killed at %s", step)
	s.drv.Kill()
	return errKilled
}

func (s *sim) say(format string, args ...any) {
	if *oneSeed != 0 {
		s.t.Logf("%s %s", s.now.Format("15:04:05"), fmt.Sprintf(format, args...))
	}
}

// restart is a new process over the same store and the same engine.
func (s *sim) restart() error {
	if s.core != nil {
		if err := s.core.store.Close(); err != nil {
			return err
		}
	}
	for _, c := range s.pending { // what was in flight died before it, or at the very door
		if c.op == Applying && s.rng.IntN(2) == 0 {
			s.made(c)
			c.make(context.Background())
		}
	}
	s.pending = nil
	s.drv = &memory.Driver{Engine: s.eng, Env: simEnv}
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Engine: "memory", Kinds: memory.Kinds(), Driver: s.drv, Identity: "mem-1", Linger: 30 * time.Second})
	if err != nil {
		return err
	}
	st, err := store.Open(s.path, simEnv)
	if err != nil {
		return err
	}
	loaded, err := st.Load(context.Background())
	if err != nil {
		return err
	}
	env := Env{ID: simEnv, Name: "sim", Gates: gate.Config{Destroys: 3, Calendar: s.windows}, Resync: 10 * time.Minute, Started: s.now}
	s.core = &core{w: NewWorld(env, reg, loaded), store: st}
	if s.trouble && s.fuse < 0 {
		s.fuse = 1 + s.rng.IntN(40)
	}
	st.Hook = s.burn
	s.core.w.Judge = s.judge()
	if s.rev > 0 {
		s.core.w.Declare(s.revision(), s.decl)
	}
	return nil
}

func (s *sim) revision() sources.Revision {
	return sources.Revision{ID: fmt.Sprintf("%040d", s.rev)}
}

func (s *sim) declare(res []schema.Resource) error {
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Kinds: memory.Kinds(), Driver: s.drv})
	if err != nil {
		return err
	}
	nodes, findings := graph.Build(res, reg)
	if len(findings) > 0 {
		return fmt.Errorf("declared badly: %v", findings)
	}
	s.rev++
	s.core.w.Judge = s.judge()
	s.decl = nodes
	for _, n := range nodes {
		s.say("declared %s at %q: %s", n.ID, n.Handle, n.Res.Spec)
	}
	s.core.w.Declare(s.revision(), nodes)
	return nil
}

// run goes on for so many steps, or until all is converged.
func (s *sim) run(steps int, stopEarly bool) error {
	for i := range steps {
		err := s.step()
		if errors.Is(err, errKilled) || s.dead() {
			err = s.restart()
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if !stopEarly && s.converged() {
			return nil
		}
	}
	if stopEarly {
		return nil
	}
	return fmt.Errorf("not converged after %d steps:\n%s", steps, s.state())
}

// step absorbs one or more ends, decides, and lets something happen.
func (s *sim) step() error {
	w := s.core.w
	w.Now = s.now
	var ends []end
	for len(s.pending) > 0 && (len(ends) == 0 || s.rng.IntN(3) == 0) {
		i := s.rng.IntN(len(s.pending))
		cl := s.pending[i]
		s.pending = slices.Delete(s.pending, i, i+1)
		s.made(cl)
		e := cl.make(context.Background())
		if s.dead() {
			return errKilled
		}
		if cl.op == Applying {
			s.say("apply %s %s: %v", cl.change.Action, cl.nodes[0].ID, e.err)
		}
		ends = append(ends, e)
	}
	ctx := context.Background()
	if err := s.core.absorb(ctx, ends); err != nil {
		return err
	}
	d, calls, err := s.core.step(ctx)
	if err != nil {
		return err
	}
	s.last = d
	for _, cl := range calls {
		if cl.op == Applying && cl.nodes[0].doing.back {
			s.say("puts back %s: %v", cl.nodes[0].ID, cl.change.Diff)
			s.cov.hit("put back")
		}
		if cl.op == Applying && !cl.drift && cl.nodes[0].Intent.Attempts == 1 && s.windows.At(s.now) != nil {
			return fmt.Errorf("%s %s was begun outside the windows, at %s", cl.change.Action, cl.nodes[0].ID, s.now.Format("15:04:05"))
		}
	}
	s.pending = append(s.pending, calls...)
	if len(s.pending) == 0 {
		again := Turn(w)
		if s.core.giveBack(again.Apply); told(again) != "" {
			return fmt.Errorf("nothing is under way, and nobody makes the turn that would %s", told(again))
		}
		if err := s.burn("idle"); err != nil {
			return err
		}
		s.pass(d)
	}
	if s.trouble {
		s.meddle()
	}
	if s.rng.IntN(3) == 0 && (!s.trouble || s.rev%3 != 2 || s.rng.IntN(8) == 0) { // of the second revision approvals take their time
		return s.person(d)
	}
	return nil
}

func (s *sim) converged() bool {
	if s.last == nil || len(s.pending) > 0 || len(s.last.Evals) != len(s.core.w.Nodes) || s.eng.Pending() > 0 {
		return false
	}
	for _, e := range s.last.Evals {
		if e.State != Converged || !e.Settled {
			return false
		}
	}
	return len(s.core.w.Nodes) == s.alive()
}

// settle runs without trouble until all is converged, lets a resync pass, and
// demands that it still is.
func (s *sim) settle() error {
	s.eng.SetUnreachable(false)
	s.last = nil
	if err := s.run(6000, false); err != nil {
		return err
	}
	s.now = s.now.Add(11 * time.Minute)
	s.eng.Tick(60)
	s.last = nil
	return s.run(3000, false)
}
