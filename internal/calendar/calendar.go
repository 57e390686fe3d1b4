// Package calendar says when changes may be made: in windows that open by cron
// and stay open for a while, and not within freezes. It is pure: the time comes
// in as data. It must not know what is changed, nor who asks.
//
// Read in this order: calendar.go (the answer), window.go, freeze.go, wall.go
// (what a clock on a wall shows, and when).
package calendar

import (
	"strings"
	"time"
)

// Calendar is when changes may be made: while one of its windows is open, and
// none of its freezes holds. The zero Calendar is always open. Immutable.
type Calendar struct {
	Windows []Window // none: open apart from the freezes
	Freezes []Freeze
}

// Closed is a calendar at a time when changes may not be made.
type Closed struct {
	Opens  time.Time // when they may again, in the zone that says so; zero: never
	Frozen bool      // a freeze holds
	Why    string    // of the freeze

	now time.Time
}

// At answers nil where changes may be made at a time.
func (c Calendar) At(now time.Time) *Closed {
	freeze := c.frozen(now)
	if freeze == nil && c.open(now) {
		return nil
	}
	shut := &Closed{now: now}
	if freeze != nil {
		shut.Frozen, shut.Why = true, freeze.Why
	}
	// From one end of a freeze, or one opening, to the next: each freeze is left
	// once, and after an opening it is open, or frozen.
	at := now
	for range 2*len(c.Freezes) + 2 {
		switch f := c.frozen(at); {
		case f != nil:
			at = f.Until
		case c.open(at):
			shut.Opens = at
			return shut
		default:
			if at = c.next(at); at.IsZero() {
				return shut
			}
		}
	}
	return shut
}

// open says whether a window is, freezes apart.
func (c Calendar) open(at time.Time) bool {
	for _, w := range c.Windows {
		if w.open(at) {
			return true
		}
	}
	return len(c.Windows) == 0
}

// next is the next opening of a window; zero: none opens any more.
func (c Calendar) next(after time.Time) (first time.Time) {
	for _, w := range c.Windows {
		if at := w.next(after); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// frozen is the freeze that holds at a time, the one that ends last of several;
// nil: none does.
func (c Calendar) frozen(at time.Time) (last *Freeze) {
	for i := range c.Freezes {
		if f := &c.Freezes[i]; f.holds(at) && (last == nil || f.Until.After(last.Until)) {
			last = f
		}
	}
	return last
}

// String is "window opens Mon 08:00 Europe/Berlin", or "frozen until Thu
// 2027-01-07 08:00 Europe/Berlin: the fair": when changes may be made again.
func (c *Closed) String() string {
	words := "window opens "
	switch {
	case c.Opens.IsZero():
		return "no window opens any more"
	case c.Frozen:
		words = "frozen until "
	}
	words += clock(c.Opens, c.now)
	if c.Why != "" {
		words += ": " + c.Why
	}
	return words
}

// clock is a time as people say it: by its weekday alone while that means one
// day only.
func clock(at, now time.Time) string {
	layout := "Mon 2006-01-02 15:04"
	if at.Sub(now) < 6*24*time.Hour {
		layout = "Mon 15:04"
	}
	if at.Second() != 0 {
		layout += ":05"
	}
	zone := at.Location().String()
	if zone == "" || strings.HasPrefix(zone, "+") || strings.HasPrefix(zone, "-") {
		zone = at.Format("-07:00")
	}
	return at.Format(layout) + " " + zone
}
