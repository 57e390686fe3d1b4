package reconciler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// explain puts an Eval into words: why n is not converged, and what to do.
func explain(n *Node, e *Eval) (reason, hint string) {
	switch e.Why {
	case fine:
		return "", ""
	case busy:
		return busyText(n), ""
	case unseen:
		return "not looked at yet", ""
	case unplanned:
		return "being planned", ""
	case needWaits, needUnknown:
		return needText(n, e), ""
	case outOfReach:
		return reachText(n, e), ""
	case foreign:
		return "lives already, and is not ours", "take it over with metadata.adopt: true, or choose another name"
	case othersMark:
		return "belongs to another environment (" + e.Text + ")", "choose another name, or delete it there first"
	case failed, unread:
		return failText(n, e)
	case unhealthy:
		return or(e.Text, "not healthy"), ""
	case gated, drifts, flapping, readOnly:
		if n.Plan == nil {
			return "", ""
		}
		return explainPlan(n, e)
	case paused:
		return "a person suspended it", "aplomb resume"
	case lingers:
		return "an earlier call may still land", ""
	case component:
		return "goes once " + e.Need.ID.Short() + " is converged", ""
	case neededBy:
		return "still needed by " + e.Need.ID.Short(), ""
	case deferred:
		return "cannot be planned before what it needs is applied", ""
	case unjudged:
		return or(e.Text, "policies are judging"), ""
	case undecided:
		return "the driver of " + n.ID.Kind + " defers although everything is known", "please report it"
	}
	return "", ""
}

// explainPlan explains what is about n's plan.
func explainPlan(n *Node, e *Eval) (reason, hint string) {
	c := &n.Plan.Change
	switch e.Why {
	case gated:
		reason = strings.Join(e.Held, "; ")
		if e.Changed != nil {
			reason += "; " + e.Changed.String()
		}
		if e.Text != "" {
			reason += "; " + e.Text
		}
		if e.Text == backFailing {
			why, _ := failText(n, &Eval{Why: failed})
			reason += ": " + why
		}
		return reason, approveHint(n, e)
	case drifts:
		return driftText(n), "aplomb approve " + clipDigest(n.Plan.Digest)
	case readOnly:
		return "would " + string(c.Action), ""
	default:
		return "applying it does not settle: " + fieldsText(c.Diff), "the driver of " + n.ID.Kind + " is at fault; please report these fields"
	}
}

// approveHint is what lets a held change run, where something does.
func approveHint(n *Node, e *Eval) string {
	if e.Refused {
		return "change the declaration: no approval helps"
	}
	if e.Shut != "" && len(e.Held) == 1 {
		return ""
	}
	hint := "aplomb approve " + clipDigest(n.Plan.Digest)
	for _, v := range e.Said {
		if v.Level == schema.SoftMandatory && v.Approvers == 0 && slices.Contains(e.Blocked, v.Policy) && !strings.Contains(hint, " "+v.Policy+" ") {
			hint += " --override " + v.Policy + ` --reason "…"`
		}
	}
	return hint
}

func busyText(n *Node) string {
	if n.doing == nil {
		return ""
	}
	if n.progress != "" {
		return verb(n.doing.Change.Action) + ": " + n.progress
	}
	return verb(n.doing.Change.Action)
}

// verb is an action in the making.
func verb(a schema.Action) string {
	switch a {
	case schema.Create:
		return "creating"
	case schema.Update:
		return "updating"
	case schema.Replace:
		return "replacing"
	case schema.Delete:
		return "deleting"
	case schema.Adopt:
		return "adopting"
	default:
		return string(a)
	}
}

func needText(n *Node, e *Eval) string {
	if e.Need == nil && (n.Plan == nil || n.Plan.Want == nil) {
		return "an output never came"
	}
	if e.Need == nil {
		var unknown []string
		for p, text := range n.Plan.Want.Unknown {
			unknown = append(unknown, p.String()+" ("+text+")")
		}
		return "an output never came: " + strings.Join(unknown, ", ")
	}
	state := e.Need.shown.state
	if state == "" || state == Converged {
		state = Waiting
	}
	return "needs " + e.Need.ID.Short() + ", which is " + string(state)
}

func reachText(n *Node, e *Eval) string {
	if e.Text != "" {
		return e.Text
	}
	return n.ID.Target + " is out of reach"
}

func failText(n *Node, e *Eval) (reason, hint string) {
	err := fmt.Errorf("%s", e.Text)
	switch {
	case n.Plan != nil && n.Plan.Err != nil:
		err = n.Plan.Err
	case e.Why == unread && n.Live != nil && n.Live.State.Err != nil:
		err = n.Live.State.Err
	case n.Fail != nil:
		err = n.Fail.Err
	}
	reason = schema.Mask(err.Error())
	if n.Fail != nil && n.Fail.Tries > 0 && e.Why == failed {
		reason += fmt.Sprintf("; retry %d %s", n.Fail.Tries, in(n.Fail.Next))
	}
	return reason, drivers.HintOf(err)
}

func in(t time.Time) string {
	d := time.Until(t).Round(time.Second)
	if d <= 0 {
		return "now"
	}
	return "in " + d.String()
}

// hopeless says that trying again changes nothing by itself.
func (n *Node) hopeless() bool {
	c := drivers.Class(n.Fail.Err)
	return c == drivers.ErrPermanent || c == drivers.ErrDenied
}

func driftText(n *Node) string {
	if n.Plan == nil {
		return "changed behind aplomb's back"
	}
	return movedText(&n.Plan.Change)
}

func movedText(c *drivers.Change) string {
	if c.Why != "" {
		return c.Why
	}
	return "changed behind aplomb's back: " + fieldsText(c.Diff)
}

func fieldsText(diff []drivers.Delta) string {
	const most = 4
	var names []string
	for _, d := range diff[:min(len(diff), most)] {
		names = append(names, strings.Trim(d.Path.String(), "()"))
	}
	if len(diff) > most {
		names = append(names, fmt.Sprintf("and %d more", len(diff)-most))
	}
	return strings.Join(names, ", ")
}

// clipDigest is as much of a digest as a person has to type.
func clipDigest(d string) string { return d[:min(len(d), 12)] }

// String is "1 created, 2 changed".
func (t tally) String() string {
	words := []struct {
		a    schema.Action
		word string
	}{{schema.Create, "created"}, {schema.Update, "changed"}, {schema.Replace, "replaced"}, {schema.Delete, "deleted"}, {schema.Adopt, "adopted"}}
	var parts []string
	for _, w := range words {
		if t[w.a] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", t[w.a], w.word))
		}
	}
	return strings.Join(parts, ", ")
}
