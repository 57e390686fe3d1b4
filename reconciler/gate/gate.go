// Package gate decides who must agree before a change runs: holds, data,
// adoption, the budget for destruction, windows, and approvals. It is pure; it knows
// changes, not engines, and neither asks nor waits.
package gate

import (
	"fmt"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// The budget where Config says nothing.
const (
	DefaultDestroys = 5         // deletions and replacements in a Window
	DefaultShare    = 20        // percent of what is owned
	DefaultFrom     = 10        // the share counts where more than so many are owned
	Window          = time.Hour // over which a budget is summed
)

// Config is an environment's gates.
type Config struct {
	Destroys  int  // zero: DefaultDestroys; negative: none is free
	Share     int  // percent; zero: DefaultShare; negative: none is free
	Unlimited bool // no budget at all
	Reviews   int  // how many different people must have approved what is newly declared

	Owners   Owners            // whose reviews it needs beside
	Calendar calendar.Calendar // when what is newly declared may run; zero: always
}

// Budget is what an environment has left to destroy without a person.
type Budget struct {
	Limit int // 0 for none
	Used  int // in the last Window, and about to be used
}

// NewBudget counts: owned things now, destroyed ones within the last Window
// that nobody had approved, and those that now want to be.
func (c Config) NewBudget(owned, spent, wanted int) Budget {
	limit := orDefault(c.Destroys, DefaultDestroys)
	if owned+spent > DefaultFrom {
		limit = min(limit, (owned+spent)*orDefault(c.Share, DefaultShare)/100)
	}
	if c.Unlimited {
		limit = spent + wanted
	}
	return Budget{Limit: limit, Used: spent + wanted}
}

func orDefault(n, def int) int {
	switch {
	case n == 0:
		return def
	case n < 0:
		return 0
	default:
		return n
	}
}

// Exceeded says whether destroying must wait for a person.
func (b Budget) Exceeded() bool { return b.Used > b.Limit }

// Input is what is known of one change that wants to run.
type Input struct {
	Change      plan.Masked
	Holds       []schema.Action // declared now, or at the last apply
	Data        bool            // it holds data
	Risk        string          // why its driver wants a person to agree; "" where it does not
	Drift       bool            // back to what was last applied; nothing new is declared
	ReportDrift bool            // the environment only reports drift
	TakesOver   bool            // it lives already, and nobody's mark is on it
	Finishing   bool            // a pending intent for the same resolved want covers it
	Budget      Budget
}

// Judge answers what wants a person, in words; nothing means go. approvals are
// those that are in force.
func Judge(in Input, approvals Index) []string {
	if in.Change.Action == schema.None {
		return nil
	}
	if in.Finishing && !in.Change.Action.Destroys() {
		return nil
	}
	reasons := reasons(in)
	if len(reasons) > 0 && approvals.Covers(in.Change) {
		return nil
	}
	return reasons
}

func reasons(in Input) []string {
	var why []string
	a := in.Change.Action
	if slices.Contains(in.Holds, a) {
		why = append(why, fmt.Sprintf("%s wants approval: hold", a))
	}
	if in.Data && a.Destroys() {
		why = append(why, fmt.Sprintf("%s wants approval: it holds data", a))
	}
	if in.Risk != "" {
		why = append(why, fmt.Sprintf("%s wants approval: %s", a, in.Risk))
	}
	if a == schema.Adopt || in.TakesOver {
		why = append(why, fmt.Sprintf("%s wants approval: it lives already and was not made by this environment", a))
	}
	if in.Drift && in.ReportDrift {
		why = append(why, "drift is only reported here")
	}
	if a.Destroys() && in.Budget.Exceeded() {
		why = append(why, fmt.Sprintf("%s wants approval: budget of %d deletions and replacements an hour, %d wanted", a, in.Budget.Limit, in.Budget.Used))
	}
	return why
}

// Approval is one person's yes, with the whole masked changes that it was
// given for.
type Approval struct {
	ID      string        `json:"id"` // the digest that was named
	By      string        `json:"by"`
	At      time.Time     `json:"at"`
	Why     string        `json:"why,omitempty"`
	Changes []plan.Masked `json:"changes"` // used ones are taken out

	// Overrides are the soft-mandatory policies that it overrides, by name.
	Overrides []string `json:"overrides,omitempty"`
	// Outside lets the changes run outside the windows, too.
	Outside bool `json:"outside,omitempty"`
	// Speaks are the owners that the giver spoke for when it was given, as rules
	// name them: teams, and @ with the own name.
	Speaks []string `json:"speaks,omitempty"`
	// OwnersOnly says that it is good for what those own, and for nothing else.
	OwnersOnly bool `json:"ownersOnly,omitempty"`

	// Elsewhere says that it was said where proposals are reviewed, and may be
	// taken back there: it lets things run only while it was read there within
	// HeardTime. Heard is when; it is not kept, so that all are read anew after a
	// start.
	Elsewhere bool      `json:"elsewhere,omitempty"`
	Heard     time.Time `json:"-"`
}

// HeardTime is for how long what was read of a forge is as it is there.
const HeardTime = 2 * time.Minute

// Heard leaves out the approvals that have to be read again where they were
// given; others says whether there are any.
func Heard(approvals []Approval, now time.Time) (heard []Approval, others bool) {
	stale := func(a Approval) bool { return a.Elsewhere && now.Sub(a.Heard) > HeardTime }
	if !slices.ContainsFunc(approvals, stale) {
		return approvals, false
	}
	return slices.DeleteFunc(slices.Clone(approvals), stale), true
}

// ApprovalTime is how long an approval is good for. What it was given for may
// not come for a while, but a yes is not for ever.
const ApprovalTime = 30 * 24 * time.Hour

// Index finds what approvals cover, quickly. Immutable.
type Index map[schema.ID][]given

// given is one change of an approval.
type given struct {
	plan.Masked
	by         string
	at         time.Time
	overrides  []string
	outside    bool
	speaks     []string
	ownersOnly bool
}

// general says whether it covers a change for everything but owners' rules.
func (g given) general(now plan.Masked) bool { return !g.ownersOnly && plan.Covers(g.Masked, now) }

// NewIndex indexes the approvals that are in force at a time.
func NewIndex(approvals []Approval, now time.Time) Index {
	if len(approvals) == 0 {
		return nil
	}
	x := Index{}
	for _, a := range approvals {
		if now.Sub(a.At) > ApprovalTime {
			continue
		}
		for _, then := range a.Changes {
			x[then.ID] = append(x[then.ID], given{then, a.By, a.At, a.Overrides, a.Outside, a.Speaks, a.OwnersOnly})
		}
	}
	return x
}

// Covers says whether one of the approvals covers a change. What is good for
// owners' rules only does not.
func (x Index) Covers(now plan.Masked) bool {
	return slices.ContainsFunc(x[now.ID], func(g given) bool { return g.general(now) })
}

// Use takes out of the approvals what covered an applied change, and drops
// approvals that have nothing left or are too old. used is false where none
// covered it.
func Use(change plan.Masked, approvals []Approval, now time.Time) (left []Approval, used bool) {
	for _, a := range approvals {
		if now.Sub(a.At) > ApprovalTime {
			continue
		}
		i := slices.IndexFunc(a.Changes, func(then plan.Masked) bool { return then.ID == change.ID && plan.Covers(then, change) })
		if i >= 0 {
			used = true
			a.Changes = slices.Concat(a.Changes[:i], a.Changes[i+1:])
		}
		if len(a.Changes) > 0 {
			left = append(left, a)
		}
	}
	return left, used
}
