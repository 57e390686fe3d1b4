package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// statusKeeper turns decisions into what people are told: events as they
// happen, and who is in which state since when. The reconciler's lock guards
// it.
type statusKeeper struct {
	r *Reconciler

	seq   uint64        // of the status
	moved chan struct{} // closed, and made anew, with every change of the status

	events []Event // the newest, at most rememberedEvents
	next   uint64  // sequence of the next event
	subs   map[chan Event]struct{}

	since       time.Time // not converged since
	converged   bool
	convergedAt time.Time // all was well last then
	well        time.Time // all has been well since, but for drift that was repaired; zero: it is not
	wellOf      tuple     // that it is well with
	settled     bool
	done        tally     // applied since the environment was converged last
	tally       tally     // applied since the last report
	fresh       bool      // what is in force is not what converged last
	unsaid      time.Time // since when there is something that no report tells; zero: nothing
	stats       Stats

	changes      uint64 // applied, but for drift that was repaired
	found, lives string // what lived when nothing more was to be done, first and last; see Basis
}

// tally counts what was applied, for the summary of a report.
type tally map[schema.Action]int

const (
	rememberedEvents = 1000
	subscriberBuffer = 4096
)

func newStatusKeeper(r *Reconciler) *statusKeeper {
	return &statusKeeper{convergedAt: r.core.w.State.ConvergedAt, r: r, moved: make(chan struct{}), next: 1, subs: map[chan Event]struct{}{}, since: time.Now(), done: tally{}, tally: tally{}, stats: Stats{Applies: map[Apply]uint64{}}}
}

// changed lets everybody who waits look again.
func (k *statusKeeper) changed() {
	k.seq++
	close(k.moved)
	k.moved = make(chan struct{})
}

// emit remembers an event and hands it on; who is too slow is cut off, and
// asks again by sequence.
func (k *statusKeeper) emit(e Event) {
	e.Seq, e.At = k.next, time.Now()
	if e.Revision == "" {
		e.Revision = k.r.core.w.Revision.ID
	}
	e.Message = schema.Mask(e.Message)
	k.next++
	if len(k.events) >= 2*rememberedEvents {
		k.events = append(k.events[:0:0], k.events[rememberedEvents:]...)
	}
	k.events = append(k.events, e)
	for sub := range k.subs {
		select {
		case sub <- e:
		default:
			close(sub)
			delete(k.subs, sub)
		}
	}
}

// ended tells of calls that wrote.
func (k *statusKeeper) ended(ends []end) {
	for i := range ends {
		e := &ends[i]
		if e.op != Applying {
			continue
		}
		k.stats.applied(e)
		n := e.nodes[0]
		ev := Event{Type: "applied", ID: n.ID, Layer: n.Layer, Action: e.change.Action, Message: e.change.Why, Seconds: k.r.core.w.Now.Sub(e.began).Seconds()}
		log := k.r.log.WithFields(logrus.Fields{"resource": n.ID.String(), "action": string(e.change.Action), "revision": k.r.core.w.Revision.Short()})
		switch {
		case e.err != nil:
			ev.Type, ev.Message = "failed", e.err.Error()
			log.WithError(e.err).Info("apply failed")
		case e.drift:
			log.Info("drift repaired")
		default:
			log.Info("applied")
		}
		if e.err == nil {
			k.tally[e.change.Action]++
			k.done[e.change.Action]++
			k.say()
			if !e.drift {
				k.changes++
			}
		}
		class := drivers.Class(e.err)
		if e.drift && e.err == nil || e.err != nil && (class == drivers.ErrStale || class == drivers.ErrWaiting) {
			continue // a repair is told once the thing is well again; what is merely made again is no news
		}
		k.emit(ev)
	}
}

// turned compares what a turn thinks with what was told last.
func (k *statusKeeper) turned(d *Decision) {
	w := k.r.core.w
	k.stats.Turns++
	news, all, quiet := false, w.Declared, true
	for i, n := range w.Nodes {
		e := &d.Evals[i]
		n.said = e
		if w.Declared && k.tell(n, e) {
			news = true
		}
		all = all && e.State == Converged && e.Settled
		quiet = quiet && k.atRest(n, e)
	}
	calls, ends := k.r.air.count()
	settled := quiet && k.r.looked && calls == 0 && ends == 0
	all = all && k.r.looked && k.r.refuse == nil && w.State.Suspended == nil
	if settled && !k.settled {
		k.rests(d)
	}
	moved := news || all != k.converged || settled != k.settled
	k.settled = settled
	k.turn(all)
	k.wellNow(all)
	if moved {
		k.changed()
	}
	if !k.unsaid.IsZero() {
		nudge(k.r.reports)
	}
}

// wellNow notes since when all is well. What is new, and what wants a person or
// has failed, ends that; what is only being repaired does not, nor does a commit
// that leaves everything as it was.
func (k *statusKeeper) wellNow(all bool) {
	w := k.r.core.w
	now := tuple{w.Revision, w.Under}
	same := w.alike(now, k.wellOf)
	ill := !w.Declared || w.State.Suspended != nil || w.State.Down || slices.ContainsFunc(w.Nodes, func(n *Node) bool {
		return n.said != nil && n.said.State != Converged && n.said.State != Waiting && n.said.State != Progressing
	})
	if ill || !same {
		k.well = time.Time{}
	}
	if k.wellOf = now; all && k.well.IsZero() {
		k.well = w.Now
	}
}

// say notes that there is something that no report tells yet.
func (k *statusKeeper) say() {
	if k.unsaid.IsZero() {
		k.unsaid = time.Now()
	}
}

// atRest says that nothing will become of n before the clock, the world or a
// person moves, or before it has failed often enough to give up waiting.
func (k *statusKeeper) atRest(n *Node, e *Eval) bool {
	const enough = 5
	switch {
	case n.Op != Idle, e.State == "":
		return false
	case e.State == Progressing:
		return k.r.cfg.ReadOnly
	case e.State == Waiting:
		return e.Why == needWaits || e.Why == needUnknown || e.Why == readOnly || e.Why == deferred || e.Why == neededBy || e.Why == component
	case e.Why == failed && n.Fail != nil:
		return n.Fail.Tries >= enough || n.hopeless()
	case e.Why == outOfReach:
		t := k.r.core.w.Targets[n.ID.Target]
		return t == nil || t.Down == nil || t.Down.Tries > 1
	}
	return true
}

// tell emits what is new about n.
func (k *statusKeeper) tell(n *Node, e *Eval) bool {
	s := &n.shown
	k.tellBack(n, e)
	if s.state == e.State && s.why == e.Why && s.need == e.Need && s.text == e.Text {
		return false
	}
	if e.Drift && e.Pending && s.told == Converged {
		s.told, n.drifted = Drifted, k.r.core.w.Now
		k.say()
		k.emit(Event{Type: "drift", ID: n.ID, Layer: n.Layer, State: e.State, Message: driftText(n)})
	}
	if s.state != e.State {
		s.since = k.r.core.w.Now
	}
	reworded := s.why != e.Why || s.text != e.Text
	s.state, s.why, s.need, s.text = e.State, e.Why, e.Need, e.Text
	if e.State == Waiting || e.State == s.told && !reworded || e.State == Converged && s.told == Converged {
		return true
	}
	held := e.heldAs(n)
	if e.State == Held && s.told == Held && s.heldAs == held {
		return true // it was planned anew, since what lives moved and was put back
	}
	untold := s.told == ""
	s.told, s.heldAs = e.State, held
	if untold && e.State == Converged && n.Owned != nil && n.Owned.AppliedAt.Before(k.r.core.w.Env.Started) {
		return true // as it was before this process: no news
	}
	k.say()
	if e.State == Converged && !n.drifted.IsZero() {
		k.emit(Event{Type: "repaired", ID: n.ID, Layer: n.Layer, State: Converged, Seconds: k.r.core.w.Now.Sub(n.drifted).Seconds()})
		n.drifted = time.Time{}
		return true
	}
	reason, _ := explain(n, e)
	k.emit(Event{Type: "state", ID: n.ID, Layer: n.Layer, State: e.State, Action: pendingAction(n, e), Message: reason})
	return true
}

// tellBack tells of drift that is put back although something newer is held, as
// of any other.
func (k *statusKeeper) tellBack(n *Node, e *Eval) {
	ev := Event{ID: n.ID, Layer: n.Layer, State: or(n.shown.told, e.State)}
	switch {
	case n.puttingBack() && n.drifted.IsZero():
		n.drifted = k.r.core.w.Now
		ev.Type, ev.Message = "drift", movedText(&n.doing.Change)
	case e.Stands && !n.drifted.IsZero():
		ev.Type, ev.Seconds = "repaired", k.r.core.w.Now.Sub(n.drifted).Seconds()
		n.drifted = time.Time{}
	default:
		return
	}
	k.say()
	k.emit(ev)
}

// heldAs is what makes a held change another one for people: what is declared,
// and what it waits for. How what lives differs from it is not in it.
func (e *Eval) heldAs(n *Node) string {
	if e.State != Held || n.Plan == nil {
		return ""
	}
	return n.Plan.WantSum + "\n" + strings.Join(append(slices.Clone(e.Held), e.Text), "\n")
}

func pendingAction(n *Node, e *Eval) schema.Action {
	if e.Pending && n.Plan != nil {
		return n.Plan.Change.Action
	}
	return ""
}

// turn notes when the environment becomes converged, and when it stops.
func (k *statusKeeper) turn(all bool) {
	w := k.r.core.w
	if all == k.converged {
		return
	}
	k.converged = all
	if !all {
		k.since = w.Now
		return
	}
	k.stats.Converged, k.convergedAt = w.Now, w.Now
	k.emit(Event{Type: "converged", Message: k.done.String(), Seconds: w.Now.Sub(k.since).Seconds()})
	k.done = tally{}
	if w.State.Down || k.r.cfg.ReadOnly || lastIs(w.State.Converged, w.Revision) && !k.fresh {
		return
	}
	k.fresh = false
	record := recordOf(tuple{w.Revision, w.Under}, w.Now, "converged")
	if err := k.r.setState(context.Background(), rememberConverged(w.State, w.Revision, w.Now), []any{record}); err != nil {
		k.r.log.WithError(err).Warn("the converged revision was not recorded")
	}
}

func lastIs(revs []sources.Revision, rev sources.Revision) bool {
	return len(revs) > 0 && revs[len(revs)-1].ID == rev.ID
}

func (k *statusKeeper) declared(t tuple, began time.Time) {
	k.converged, k.settled, k.since = false, false, began
	k.emit(Event{Type: "revision", Revision: t.ID, Message: t.words(), Seconds: time.Since(began).Seconds()})
	k.changed()
}

func (k *statusKeeper) refused(f Refusal) {
	k.say()
	k.converged = false
	msg := f.Error
	if len(f.Findings) > 0 {
		msg = f.Findings[0].String()
	}
	if more := len(f.Findings) - 1; more > 0 {
		msg += fmt.Sprintf(" (and %d more)", more)
	}
	k.emit(Event{Type: "refused", Revision: f.Revision.ID, Message: msg})
	k.changed()
	if k.r.cfg.ReadOnly {
		return
	}
	rec := recordOf(tuple{f.Revision, f.Under}, f.At, "refused")
	rec.Error = msg
	if err := k.r.core.store.Finish(context.Background(), store.Result{History: []any{rec}}); err != nil {
		k.r.log.WithError(err).Warn("the refusal was not recorded")
	}
}

// sourced tells how a look at a source went; which is "" for the declarations'.
func (k *statusKeeper) sourced(which string, was, now SourceStatus) {
	if was.OK != now.OK || was.Error != now.Error {
		if !was.At.IsZero() || !now.OK {
			k.emit(Event{Type: or(which, "source"), Message: now.Error})
		}
		if !now.OK {
			k.r.log.WithFields(logrus.Fields{"error": now.Error, "source": or(which, "declarations")}).Warn("the source cannot be read; what was in force stays so")
		}
	}
	k.changed()
}
