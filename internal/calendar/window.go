package calendar

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // zones are known on a machine that has no list of them, too

	"github.com/robfig/cron/v3"
)

// Bounds of a window.
const (
	LeastOpen = time.Minute
	MostOpen  = 366 * 24 * time.Hour
	maxCron   = 200 // bytes
)

var (
	errLocal  = errors.New(`"Local" is no zone: it is another one on each machine`)
	errFields = errors.New("it is not five fields: minute, hour, day of the month, month, day of the week")
	errNever  = errors.New("it never comes")
)

// Window opens by cron, and stays open for a while.
type Window struct {
	schedule *cron.SpecSchedule // of what clocks show
	stays    time.Duration
	zone     *time.Location
}

// fieldRE is one field of cron. What the library would read into other texts,
// such as a zone of their own or names for intervals, is refused.
var fieldRE = func() *regexp.Regexp {
	const value = `([0-9]{1,2}|[A-Za-z]{3})`
	const item = `(\*|` + value + `(-` + value + `)?)(/[0-9]{1,2})?`
	return regexp.MustCompile(`^` + item + `(,` + item + `)*$`)
}()

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

// NewWindow is a window that opens by cron, five fields with names allowed, as
// the clocks of a zone show it, and stays open for some time. What is wrong is
// said all at once: the error is one of errors.Join.
func NewWindow(spec string, stays time.Duration, zone string) (Window, error) {
	loc, zoned := Zone(zone)
	if zoned != nil {
		zoned = fmt.Errorf("zone: %w", zoned)
	}
	var long error
	if stays < LeastOpen || stays > MostOpen {
		long = fmt.Errorf("for: it is not between %s and %d days", "1m", int(MostOpen/(24*time.Hour)))
	}
	schedule, parsed := parse(spec)
	if parsed != nil {
		parsed = fmt.Errorf("cron: %w", parsed)
	}
	if err := errors.Join(parsed, long, zoned); err != nil {
		return Window{}, err
	}
	return Window{schedule, stays, loc}, nil
}

func parse(spec string) (*cron.SpecSchedule, error) {
	fields := strings.Fields(spec)
	if len(spec) > maxCron || len(fields) != 5 {
		return nil, errFields
	}
	for _, f := range fields {
		if !fieldRE.MatchString(f) {
			return nil, fmt.Errorf("%q is no field of cron", f)
		}
	}
	parsed, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return nil, err
	}
	schedule, is := parsed.(*cron.SpecSchedule)
	if !is {
		return nil, errFields
	}
	schedule.Location = time.UTC
	if schedule.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errNever
	}
	return schedule, nil
}

// next is the first opening after a time; zero: none comes.
func (w *Window) next(after time.Time) time.Time {
	at := w.schedule.Next(wall(after.In(w.zone)).Add(-most))
	for ; !at.IsZero(); at = w.schedule.Next(at) {
		if t := instant(at, w.zone); t.After(after) {
			return t
		}
	}
	return time.Time{}
}

// open says whether it is: it opened not longer ago than it stays open.
func (w *Window) open(at time.Time) bool {
	last := w.next(at.Add(-w.stays))
	return !last.IsZero() && !last.After(at)
}
