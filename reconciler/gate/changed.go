package gate

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/reconciler/plan"
)

// Changed is what was approved of a thing, or shown of it, of which something
// else is planned now.
type Changed struct {
	By       string            `json:"by,omitempty"`       // who approved; "": nobody has
	Proposal string            `json:"proposal,omitempty"` // on which it was shown, where nobody has
	At       time.Time         `json:"at"`
	Between  []plan.Difference `json:"between"`
}

// Shown is what a proposal showed of one thing.
type Shown struct {
	Proposal string
	At       time.Time
	Change   plan.Masked
}

// Changed answers whether something else was shown than is planned now.
func (s Shown) Changed(now plan.Masked) *Changed {
	between := plan.Between(s.Change, now)
	if len(between) == 0 {
		return nil
	}
	return &Changed{Proposal: s.Proposal, At: s.At, Between: between}
}

// Verb is what was done with what is otherwise now.
func (c Changed) Verb() string {
	if c.By == "" {
		return "shown"
	}
	return "approved"
}

// Whence is what it is otherwise than.
func (c Changed) Whence() string {
	if c.By == "" {
		return "what was shown on proposal " + c.Proposal
	}
	return "what " + c.By + " approved"
}

// Changed answers what was approved last of a thing, by somebody of whom no
// approval covers what is planned now; nil: nothing was.
func (x Index) Changed(now plan.Masked) *Changed {
	agreed := map[string]bool{}
	for _, g := range x[now.ID] {
		if plan.Covers(g.Masked, now) {
			agreed[person(g.by)] = true
		}
	}
	var last *given
	for i := range x[now.ID] {
		if g := &x[now.ID][i]; !agreed[person(g.by)] && (last == nil || !g.at.Before(last.at)) {
			last = g
		}
	}
	if last == nil {
		return nil
	}
	return &Changed{By: last.by, At: last.at, Between: plan.Between(last.Masked, now)}
}

// Bounds of Changed in words; all of it is in its fields.
const (
	mostDifferences = 3
	mostValue       = 80 // bytes
)

// String is why it asks again, in one line.
func (c Changed) String() string {
	var all []string
	for i, d := range c.Between {
		if i == mostDifferences {
			all = append(all, fmt.Sprintf("and %d more", len(c.Between)-i))
			break
		}
		all = append(all, fmt.Sprintf("%s: %s%s; now: %s", c.Verb(), about(d), clip(d.Then), clip(d.Now)))
	}
	return "it is not " + c.Whence() + ": " + strings.Join(all, ", ")
}

// about is what a difference is of.
func about(d plan.Difference) string {
	switch {
	case d.What == "field":
		return clip(d.Path.String()) + " "
	case d.What == "before" && d.Path != "":
		return clip(d.Path.String()) + " was "
	case d.What == "before":
		return "it was "
	}
	return d.What + " "
}

// clip bounds a text, on one line.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= mostValue {
		return s
	}
	at := mostValue
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	return s[:at] + "…"
}
