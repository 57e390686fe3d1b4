package reconciler

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/schema"
)

// opening is a calendar with one window in UTC.
func opening(t *testing.T, spec string, stays time.Duration, freezes ...calendar.Freeze) calendar.Calendar {
	t.Helper()
	w, err := calendar.NewWindow(spec, stays, "")
	if err != nil {
		t.Fatal(err)
	}
	return calendar.Calendar{Windows: []calendar.Window{w}, Freezes: freezes}
}

// TestWindowWakes: what is held until a window opens runs when it does, and
// nobody has to ask for it. The clock begins on a Saturday at midnight.
func TestWindowWakes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) {
			c.Gates.Calendar, c.Interval, c.Resync = opening(t, "0 8 * * MON-FRI", 9*time.Hour), 24*time.Hour, 24*time.Hour
		}, decl("a", `{}`), decl("b", `{}`, needs("a")))
		later(time.Hour)
		st := h.Status()
		if st.Counts[Held] != 1 || st.Counts[Waiting] != 1 || h.live() != "" || !st.Settled {
			t.Fatalf("%v, settled %t, live: %s", st.Counts, st.Settled, h.live())
		}
		if r := st.Resources[0]; r.Reason != "window opens Mon 08:00 UTC" || r.Hint != "" || !r.Timed {
			t.Errorf("%+v", r)
		}
		turns := h.Stats().Turns
		later(54 * time.Hour) // Monday, 07:00
		if made := h.Stats().Turns - turns; made > 100 {
			t.Errorf("%d turns while nothing happened", made)
		}
		later(time.Hour - time.Second)
		if h.live() != "" {
			t.Errorf("before it opens: %s", h.live())
		}
		later(2 * time.Second)
		h.converged(h.tip())
		if at := h.Status().Resources[0].LastAt.UTC().Format("Mon 15:04:05"); at != "Mon 08:00:00" {
			t.Errorf("it ran %s", at)
		}
		later(10 * time.Hour) // closed again
		h.must(h.eng.ForeignEdit(memory.KindThing+"/a", json.RawMessage(`{"value":"foreign"}`)))
		h.must(h.Resume(t.Context(), "ana", nil, "")) // everything is looked at
		later(time.Minute)
		if strings.Contains(string(h.eng.Objects()[0].Spec), "foreign") {
			t.Error("drift is not repaired outside a window")
		}
		h.commit(decl("b", `{}`, needs()))
		later(time.Hour)
		if c := h.Plan().Changes; len(c) != 1 || c[0].Action != schema.Delete || c[0].Shut == "" || h.live() != "a b" {
			t.Errorf("%+v, live: %s", c, h.live())
		}
	})
}

// TestWindowTurn: what was begun is finished after a restart, though the window
// has closed; what it needed to wait for is not begun; and a change that only
// then is declared otherwise is a new one.
func TestWindowTurn(t *testing.T) {
	d := newDesk(t, "mem")
	load := func() { d.world().Env.Gates.Calendar = opening(t, "0 0 * * *", time.Hour) }
	load()
	d.declare(decl("a", `{}`), decl("b", `{}`, needs("a")))
	var calls []call
	for said := ""; !strings.Contains(said, "create a"); {
		if len(calls) > 0 {
			d.end(calls)
		}
		said, calls = d.begin()
	}
	d.pass(2 * time.Hour) // the process dies before its call is made
	d.restart()
	load()
	d.again()
	d.steps()
	d.pass(time.Minute) // the call may have landed late
	if got := writes(d.steps()); got != "create a" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "converged: ", "b": "held: window opens Fri 00:00 UTC"})
	d.declare(decl("a", `{"size":2}`), decl("b", `{}`, needs("a")))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "held: window opens Fri 00:00 UTC", "b": "waiting: needs memory.thing/a"})
	if wake := d.decide().Wake; wake.After(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) || wake.IsZero() {
		t.Errorf("it looks again at %s", wake)
	}
	d.pass(22 * time.Hour)
	if got := writes(d.steps()); got != "update a, create b" {
		t.Errorf("written when it opens: %s", got)
	}
}

// TestWindowLevers: going down is a person's own word, and waits for no window;
// rolling back is a change like any other.
func TestWindowLevers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx := t.Context()
		h := newHouse(t, func(c *Config) { c.Gates.Calendar = opening(t, "0 0 * * *", time.Hour) }, decl("a", `{}`))
		h.converged(h.tip())
		rev := h.commit(decl("a", `{}`), decl("b", `{}`))
		h.converged(rev)
		later(2 * time.Hour)
		_, err := h.Rollback(ctx, "ana", "", "")
		h.must(err)
		later(time.Minute)
		if got := h.Plan().Changes; h.live() != "a b" || len(got) != 1 || !got[0].Timed() {
			t.Errorf("live: %s, %+v", h.live(), got)
		}
		_, err = h.Down(ctx, "ana", nil, "")
		h.must(err)
		if h.live() != "" {
			t.Errorf("live: %s", h.live())
		}
	})
}

// TestWindowApproval: an approval that was given before the window opens is good
// when it does, and opens none; one for an incident lets run what it names,
// wants a reason, and is in the audit.
func TestWindowApproval(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		fair, err := calendar.NewFreeze("2000-01-03", "2000-01-09", "", "the fair")
		h := newHouse(t, func(c *Config) { c.Gates.Calendar = opening(t, "0 8 * * MON-FRI", 9*time.Hour, fair) },
			decl("a", `{}`, hold(schema.Create)), decl("b", `{}`), decl("c", `{}`))
		h.must(err)
		ctx := t.Context()
		later(time.Minute)
		by := map[string]PlannedChange{}
		v := h.Plan()
		for _, c := range v.Changes {
			by[c.ID.Name] = c
		}
		if got := strings.Join(by["a"].Held, "; "); got != "create wants approval: hold; window opens Mon 2000-01-10 08:00 UTC" || by["a"].Timed() || !by["b"].Timed() {
			t.Errorf("%q, %+v", got, by["b"])
		}
		for _, c := range []struct {
			pull func() ([]PlannedChange, error)
			want string
		}{
			{func() ([]PlannedChange, error) {
				return h.Approve(ctx, "ana", Yes{Digest: by["b"].Digest, Why: "now!"})
			}, "waits for its time, and for nobody's approval: window opens Mon 2000-01-10"},
			{func() ([]PlannedChange, error) {
				return h.Approve(ctx, "ana", Yes{Digest: by["b"].Digest, Why: " ", Outside: true})
			}, "outside the windows wants a reason"},
		} {
			if _, err := c.pull(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) || hint(err) == "" {
				t.Errorf("%v, want %q", err, c.want)
			}
		}
		done, err := h.Approve(ctx, "ana", Yes{Digest: by["a"].Digest})
		h.must(err)
		if len(done) != 1 || len(done[0].Still) != 1 {
			t.Errorf("%+v", done)
		}
		later(time.Minute)
		if h.live() != "" || !strings.Contains(h.audit(), "ana approve") {
			t.Errorf("live: %s; %s", h.live(), h.audit())
		}
		_, err = h.Approve(ctx, "ben", Yes{Digest: by["b"].Digest, Why: "the shop is down", Outside: true})
		h.must(err)
		later(time.Minute)
		if h.live() != "b" {
			t.Errorf("live: %s", h.live())
		}
		entries, err := h.Audit(ctx, 1)
		if err != nil || !entries[0].Outside || entries[0].Does() != "approve outside the windows" || entries[0].Why != "the shop is down" || len(entries[0].Let) != 1 {
			t.Errorf("%+v, %v", entries, err)
		}
		later(4 * 24 * time.Hour) // Wednesday, and the fair
		if got := h.Plan().Changes[1].Held; len(got) != 1 || got[0] != "frozen until Mon 08:00 UTC: the fair" || h.live() != "b" {
			t.Errorf("%q, live: %s", got, h.live())
		}
		later(6 * 24 * time.Hour)
		h.converged(h.tip())
	})
}

// TestWindowClosesQueue: what was begun and waits for its turn is not sent once
// the window has closed; what is on its way ends; and it goes on with the next
// one.
func TestWindowClosesQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := &slow{pass: make(chan struct{})}
		h := newHouse(t, func(c *Config) {
			c.Gates.Calendar = opening(t, "0 0 * * *", 2*time.Minute)
			target := *c.Registry.Target("mem")
			s.Driver, _ = target.Driver.(*memory.Driver)
			target.Driver, target.Concurrency = s, 2
			reg, err := drivers.NewRegistry(target)
			if err != nil {
				t.Fatal(err)
			}
			c.Registry = reg
		}, things(6, 1)...)
		synctest.Wait()
		if n := len(s.sent()); n != 2 {
			t.Fatalf("%d are sent, want 2", n)
		}
		<-time.After(2*time.Minute - time.Second)
		go func() { <-time.After(2 * time.Second); close(s.pass) }()
		later(time.Minute)
		if n := len(s.sent()); n != 2 || len(strings.Fields(h.live())) != 2 {
			t.Errorf("closed, %d are sent, live are %s", n, h.live())
		}
		later(10 * time.Hour)
		if st := h.Status(); st.Counts[Held] != 4 || st.Counts[Converged] != 2 {
			t.Errorf("%v", st.Counts)
		}
		later(14 * time.Hour)
		h.converged(h.tip())
	})
}
