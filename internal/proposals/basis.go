package proposals

import (
	"context"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// restPerPlan is how much longer than a plan took nothing is planned for another
// basis: a plan looks at all that lives, and of many proposals all are planned.
const restPerPlan = 4

func (d *Desk) basis() string {
	if d.Basis == nil {
		return ""
	}
	return d.Basis()
}

// follow has proposals looked at when the basis is another one, at most once an
// interval.
func (d *Desk) follow(ctx context.Context) {
	was := d.Basis()
	for ctx.Err() == nil {
		if _, err := d.Wait(ctx, func(reconciler.Status) bool { return d.Basis() != was }); err != nil {
			return // the reconciler, or ctx, has ended
		}
		was = d.Basis()
		d.Kick()
		timer := time.NewTimer(d.every())
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// spent notes that a plan took a while.
func (d *Desk) spent(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.tired.Before(now) {
		d.tired = now
	}
	if d.tired = d.tired.Add(restPerPlan * took); d.tired.After(now.Add(mostWait)) {
		d.tired = now.Add(mostWait)
	}
}

// measured makes the plan that is told, and notes from what and for how long.
func (j *job) measured(ctx context.Context) (told, error) {
	basis, began := j.desk.basis(), time.Now() // what changes meanwhile may not be in it
	j.mu.Lock()
	j.basis = basis
	j.mu.Unlock()
	defer func() { j.desk.spent(time.Since(began)) }()
	return j.plan(ctx)
}

// overtaken says that it has ended with a plan from another basis.
func (j *job) overtaken(basis string) bool {
	select {
	case <-j.done:
	default:
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.basis != basis
}

// said is what was told of a proposal last.
type said struct {
	text string // all of it
	at   time.Time
}

func sayingOf(t told) said {
	t.whole = true
	return said{comment(t), t.at}
}

// still is t as of when it was told last, where it says what was said then: what
// is planned again is no news by that alone.
func (s said) still(t told) told {
	before := t
	before.at = s.at
	if sayingOf(before).text == s.text {
		return before
	}
	return t
}
