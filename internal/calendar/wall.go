package calendar

import "time"

// most is more than any zone's clocks are set back at once.
const most = 3 * time.Hour

// wall is what a clock in a time's zone shows, as a time in UTC, where every
// hour follows the one before: cron is about what clocks show.
func wall(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when the clocks of a zone show a wall's time for the first time.
// Where they never do, since they are set forward over it, that is when they
// are.
func instant(w time.Time, zone *time.Location) time.Time {
	y, m, d := w.Date()
	t := time.Date(y, m, d, w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), zone)
	from, to := t.ZoneBounds()
	switch shown := wall(t); {
	case shown.After(w):
		return from
	case shown.Before(w):
		return to
	}
	if from.IsZero() {
		return t
	}
	_, offset := from.Add(-time.Nanosecond).Zone()
	if before := w.Add(-time.Duration(offset) * time.Second).In(zone); before.Before(from) && wall(before).Equal(w) {
		return before
	}
	return t
}

// Zone is a time zone by its name, such as Europe/Berlin; "" is UTC. The zone
// of the machine is none: the same configuration would mean something else
// elsewhere.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errLocal
	}
	return time.LoadLocation(name)
}
