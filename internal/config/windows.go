package config

import (
	"errors"
	"time"

	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/schema"
)

// Window is when changes may be made.
type Window struct {
	Cron string   `json:"cron"`
	For  Duration `json:"for"`
	Zone string   `json:"zone"`
}

// Freeze is when none may.
type Freeze struct {
	From  string `json:"from"`
	Until string `json:"until"`
	Zone  string `json:"zone"`
	Why   string `json:"why"`
}

// Calendar is when changes may be made: windows and freezes that were found
// good.
func (g Gates) Calendar() (calendar.Calendar, error) {
	var all calendar.Calendar
	for _, w := range g.Windows {
		good, err := w.parse()
		if err != nil {
			return calendar.Calendar{}, err
		}
		all.Windows = append(all.Windows, good)
	}
	for _, f := range g.Freezes {
		good, err := f.parse()
		if err != nil {
			return calendar.Calendar{}, err
		}
		all.Freezes = append(all.Freezes, good)
	}
	return all, nil
}

func (w Window) parse() (calendar.Window, error) {
	return calendar.NewWindow(w.Cron, time.Duration(w.For), w.Zone)
}

func (f Freeze) parse() (calendar.Freeze, error) {
	return calendar.NewFreeze(f.From, f.Until, f.Zone, f.Why)
}

// each is the errors that were joined, or the one that there is.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &joined):
		return joined.Unwrap()
	}
	return []error{err}
}

// gates finds windows that never open, freezes that never hold, and signatures
// of nobody.
func (c *checking) gates(e Environment, at schema.Path) {
	at = at.Child("gates")
	if path := at.Child("windows"); e.Gates.Windows != nil && len(e.Gates.Windows) == 0 {
		c.find(path, "leave it out to be open always; freezes close", "%s: there is none, so that nothing could ever run", path)
	}
	for i, w := range e.Gates.Windows {
		_, err := w.parse()
		for _, why := range each(err) {
			c.find(at.Child("windows").Index(i), `such as {cron: "0 8 * * MON-FRI", for: 9h, zone: Europe/Berlin}`, "%s: %s", at.Child("windows").Index(i), why)
		}
	}
	for i, f := range e.Gates.Freezes {
		_, err := f.parse()
		for _, why := range each(err) {
			c.find(at.Child("freezes").Index(i), "such as {from: 2026-12-20, until: 2027-01-06, zone: Europe/Berlin}", "%s: %s", at.Child("freezes").Index(i), why)
		}
	}
	if path := at.Child("signed"); e.Gates.Signed && len(e.Source.Signers) == 0 {
		c.find(path, "source: {signers: [FILE]}", "%s: source.signers names nobody who may sign", path)
	}
}
