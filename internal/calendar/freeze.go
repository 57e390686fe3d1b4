package calendar

import (
	"errors"
	"fmt"
	"time"
)

// Freeze is a time in which no change is made, whatever the windows.
type Freeze struct {
	From, Until time.Time // Until is the first moment after it
	Why         string
}

var errBackwards = errors.New("until: it ends before it begins")

// NewFreeze is a freeze from a day or moment until another. A day, such as
// 2026-12-20, is one of the zone and wholly in it, also the last one; a moment
// is RFC 3339, such as 2026-12-20T18:00:00+01:00, and the last one is not in
// it.
func NewFreeze(from, until, zone, why string) (Freeze, error) {
	loc, err := Zone(zone)
	if err != nil {
		return Freeze{}, fmt.Errorf("zone: %w", err)
	}
	f := Freeze{Why: why}
	var begins, ends error
	if f.From, err = moment(from, loc, 0); err != nil {
		begins = fmt.Errorf("from: %w", err)
	}
	if f.Until, err = moment(until, loc, 1); err != nil {
		ends = fmt.Errorf("until: %w", err)
	}
	if err := errors.Join(begins, ends); err != nil {
		return Freeze{}, err
	}
	if !f.Until.After(f.From) {
		return Freeze{}, errBackwards
	}
	return f, nil
}

// moment is a time, or the beginning of a day, or of one some days later.
func moment(text string, zone *time.Location, later int) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return instant(day.AddDate(0, 0, later), zone), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is neither a day such as 2026-12-20 nor a time such as 2026-12-20T18:00:00+01:00", text)
	}
	return at.In(zone), nil
}

func (f *Freeze) holds(at time.Time) bool { return !at.Before(f.From) && at.Before(f.Until) }
