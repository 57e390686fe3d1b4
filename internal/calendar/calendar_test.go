package calendar

import (
	"strings"
	"testing"
	"time"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func window(t testing.TB, spec string, stays time.Duration, zone string) Window {
	t.Helper()
	w, err := NewWindow(spec, stays, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func freeze(t testing.TB, from, until, zone, why string) Freeze {
	t.Helper()
	f, err := NewFreeze(from, until, zone, why)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestAt: when changes may be made, and in which words it is told that they may
// not.
func TestAt(t *testing.T) {
	office := []Window{window(t, "0 8 * * MON-FRI", 9*time.Hour, "Europe/Berlin")}
	fair := []Freeze{freeze(t, "2026-12-20", "2027-01-06", "Europe/Berlin", "the fair")}
	for _, c := range []struct {
		what string
		cal  Calendar
		now  string
		want string // "": open
	}{
		{"nothing said", Calendar{}, "2026-11-28T12:00:00Z", ""},
		{"a Saturday", Calendar{Windows: office}, "2026-11-28T12:00:00Z", "window opens Mon 08:00 Europe/Berlin"},
		{"just before", Calendar{Windows: office}, "2026-11-30T06:59:59Z", "window opens Mon 08:00 Europe/Berlin"},
		{"as it opens", Calendar{Windows: office}, "2026-11-30T07:00:00Z", ""},
		{"just before its end", Calendar{Windows: office}, "2026-11-30T15:59:59Z", ""},
		{"at its end", Calendar{Windows: office}, "2026-11-30T16:00:00Z", "window opens Tue 08:00 Europe/Berlin"},
		{"in summer", Calendar{Windows: office}, "2026-07-01T06:00:00Z", ""},
		{"another window beside it", Calendar{Windows: append(office, window(t, "0 10 * * SAT", time.Hour, ""))}, "2026-11-28T12:00:00Z", "window opens Mon 08:00 Europe/Berlin"},
		{"which is open", Calendar{Windows: append(office, window(t, "0 12 * * SAT", time.Hour, ""))}, "2026-11-28T12:30:00Z", ""},
		{"opening again before it closes", Calendar{Windows: []Window{window(t, "0 * * * *", 3*time.Hour, "")}}, "2026-11-28T12:59:59Z", ""},
		{"once a year, for long", Calendar{Windows: []Window{window(t, "0 0 1 1 *", 366*24*time.Hour, "")}}, "2026-11-28T12:59:59Z", ""},
		{"far off", Calendar{Windows: []Window{window(t, "0 0 1 3 *", time.Hour, "")}}, "2026-11-28T12:00:00Z", "window opens Mon 2027-03-01 00:00 UTC"},
		{"before a freeze", Calendar{Freezes: fair}, "2026-12-19T22:59:59Z", ""},
		{"its first moment", Calendar{Freezes: fair}, "2026-12-19T23:00:00Z", "frozen until Thu 2027-01-07 00:00 Europe/Berlin: the fair"},
		{"its last day", Calendar{Freezes: fair}, "2027-01-06T22:59:59Z", "frozen until Thu 00:00 Europe/Berlin: the fair"},
		{"after it", Calendar{Freezes: fair}, "2027-01-06T23:00:00Z", ""},
		{"a freeze, then a window", Calendar{Windows: office, Freezes: fair}, "2026-12-21T09:00:00Z", "frozen until Thu 2027-01-07 08:00 Europe/Berlin: the fair"},
		{"a window that opens within a freeze, and outlasts it", Calendar{Windows: []Window{window(t, "0 0 1 1 *", 30*24*time.Hour, "")}, Freezes: fair}, "2026-12-21T09:00:00Z",
			"frozen until Thu 2027-01-07 00:00 Europe/Berlin: the fair"},
		{"the next window is in a freeze", Calendar{Windows: office, Freezes: []Freeze{freeze(t, "2026-11-30", "2026-11-30", "Europe/Berlin", "")}}, "2026-11-28T12:00:00Z",
			"window opens Tue 08:00 Europe/Berlin"},
		{"freezes on end", Calendar{Freezes: append(fair, freeze(t, "2027-01-07", "2027-01-08", "Europe/Berlin", "stocktaking"))}, "2027-01-06T12:00:00Z",
			"frozen until Sat 00:00 Europe/Berlin: the fair"},
		{"freezes over each other", Calendar{Freezes: append(fair, freeze(t, "2027-01-01", "2027-01-08", "", "stocktaking"))}, "2027-01-06T12:00:00Z",
			"frozen until Sat 00:00 UTC: stocktaking"},
		{"moments", Calendar{Freezes: []Freeze{freeze(t, "2026-11-28T12:00:00Z", "2026-11-28T13:00:30+01:00", "", "")}}, "2026-11-28T12:00:00Z", "frozen until Sat 12:00:30 UTC"},
		{"the last moment is out", Calendar{Freezes: []Freeze{freeze(t, "2026-11-28T12:00:00Z", "2026-11-28T13:00:30+01:00", "", "")}}, "2026-11-28T12:00:30Z", ""},
	} {
		got := ""
		shut := c.cal.At(at(t, c.now))
		if shut != nil {
			got = shut.String()
			if again := c.cal.At(shut.Opens); again != nil {
				t.Errorf("%s: at %s it is still closed: %s", c.what, shut.Opens, again)
			}
			if c.cal.At(shut.Opens.Add(-time.Nanosecond)) == nil {
				t.Errorf("%s: it is open before %s", c.what, shut.Opens)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	never := Closed{}
	if got := never.String(); got != "no window opens any more" {
		t.Error(got)
	}
}

// TestClocks: where clocks are set forward over an opening, the window opens as
// they are; where they show its time twice, it opens the first time. It stays
// open for as long as it says, whatever the clocks.
func TestClocks(t *testing.T) {
	for _, c := range []struct {
		what, spec, zone string
		after, want      string
	}{
		{"spring, in the gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"the day after", "30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"autumn, the first time", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"and not again", "30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"after the double hour", "0 8 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T07:00:00Z"},
		{"no midnight on that day", "0 0 * * SUN", "America/Havana", "2026-03-07T12:00:00Z", "2026-03-08T05:00:00Z"},
		{"half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
	} {
		w := window(t, c.spec, 2*time.Hour, c.zone)
		if got := w.next(at(t, c.after)); !got.Equal(at(t, c.want)) {
			t.Errorf("%s: %s, want %s", c.what, got.UTC().Format(time.RFC3339), c.want)
		}
		end := at(t, c.want).Add(2 * time.Hour)
		if !w.open(end.Add(-time.Second)) || w.open(end) {
			t.Errorf("%s: it does not stay open until %s", c.what, end)
		}
	}
}

// TestWalls compares openings, minute by minute over two changes of the clocks,
// with what a clock on a wall would have shown: an opening is when it shows, or
// has jumped over, a time of the schedule for the first time.
func TestWalls(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "UTC"} {
		loc, err := Zone(zone)
		if err != nil {
			t.Fatal(err)
		}
		changes := map[time.Time]bool{}
		for d := at(t, "2026-01-01T00:00:00Z").In(loc); d.Year() < 2027; {
			_, to := d.ZoneBounds()
			if to.IsZero() {
				break
			}
			changes[to] = true
			d = to
		}
		changes[at(t, "2026-02-27T00:00:00Z")] = true
		for _, spec := range []string{"*/20 * * * *", "30 0-3 * * *", "0 2 * * SUN", "59 23 * * *", "15,45 1,2 */2 * MON-WED"} {
			w := window(t, spec, time.Hour, zone)
			for change := range changes {
				walls(t, w, spec, change)
			}
		}
	}
}

func walls(t *testing.T, w Window, spec string, change time.Time) {
	t.Helper()
	begin := change.Add(-6 * time.Hour).Truncate(time.Minute)
	end := begin.Add(30 * time.Hour)
	due := w.schedule.Next(wall(begin.In(w.zone)))
	previous := begin
	for now := begin.Add(time.Minute); now.Before(end); now = now.Add(time.Minute) {
		shown := wall(now.In(w.zone))
		if due.After(shown) {
			continue
		}
		for !due.After(shown) { // jumped over: all at once
			due = w.schedule.Next(due)
		}
		if got := w.next(previous); !got.Equal(now) {
			t.Fatalf("%q in %s: after %s %s, want %s", spec, w.zone, previous, got, now)
		}
		previous = now
	}
}

// TestRefused: what is no window and no freeze.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		spec  string
		stays time.Duration
		zone  string
		want  string
	}{
		{"0 8 * * MON-FRI", 9 * time.Hour, "Europe/Atlantis", "zone: unknown time zone"},
		{"0 8 * * MON-FRI", 9 * time.Hour, "Local", "another one on each machine"},
		{"0 8 * * MON-FRI", 9 * time.Hour, "../etc/passwd", "zone: "},
		{"0 8 * * MON-FRI", time.Second, "", "for: "},
		{"0 8 * * MON-FRI", 400 * 24 * time.Hour, "", "for: "},
		{"", time.Hour, "", "five fields"}, {"@daily", time.Hour, "", "five fields"}, {"@every 1h", time.Hour, "", "five fields"},
		{"0 0 8 * * MON", time.Hour, "", "five fields"}, {"TZ=UTC 0 8 * * *", time.Hour, "", "five fields"}, {"TZ=UTC 8 * * *", time.Hour, "", `"TZ=UTC" is no field`},
		{"0 8 ? * *", time.Hour, "", `"?" is no field`}, {", 8 * * *", time.Hour, "", `"," is no field`}, {"*-5 8 * * *", time.Hour, "", "is no field"},
		{"60 8 * * *", time.Hour, "", "above maximum"}, {"0 24 * * *", time.Hour, "", "above maximum"}, {"0 8 0 * *", time.Hour, "", "below minimum"},
		{"0 8 * * FRI-MON", time.Hour, "", "beyond end of range"}, {"0 8 * * XYZ", time.Hour, "", "failed to parse"}, {"0 8 * * */0", time.Hour, "", "positive"},
		{"0 8 30 2 *", time.Hour, "", "it never comes"},
		{"0 8 29 2 *", time.Hour, "", ""}, {"0 8 * jan-mar,DEC sun,6", time.Hour, "Asia/Kathmandu", ""},
	} {
		_, err := NewWindow(c.spec, c.stays, c.zone)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %s in %q: %v, want %q", c.spec, c.stays, c.zone, err, c.want)
		}
	}
	for _, c := range []struct{ from, until, zone, want string }{
		{"2026-12-20", "2026-12-19", "", "ends before it begins"}, {"2026-12-20", "2026-12-20", "", ""},
		{"2026-12-20T10:00:00Z", "2026-12-20T11:00:00+01:00", "", "ends before it begins"},
		{"2026-12-20 10:00", "2026-12-21", "", "from: "}, {"2026-12-20", "2026-13-01", "", "until: "}, {"2026-12-20", "2026-12-21", "Local", "zone: "},
	} {
		_, err := NewFreeze(c.from, c.until, c.zone, "")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v, want %q", c.from, c.until, err, c.want)
		}
	}
}

// FuzzCalendar: whatever is written, a calendar is refused or answers, and what
// it answers holds.
func FuzzCalendar(f *testing.F) {
	f.Add("0 8 * * MON-FRI", int64(9*time.Hour), "Europe/Berlin", "2026-12-20", "2027-01-06", int64(1780000000))
	f.Add("30 2 */2 1,2 sun", int64(time.Minute), "", "2026-12-20T18:00:00+01:00", "2027-01-06", int64(0))
	f.Add("TZ=UTC", int64(time.Hour), "Local", "", "", int64(-1))
	f.Fuzz(func(t *testing.T, spec string, stays int64, zone, from, until string, now int64) {
		var cal Calendar
		if w, err := NewWindow(spec, time.Duration(stays), zone); err == nil {
			cal.Windows = append(cal.Windows, w)
		}
		if f, err := NewFreeze(from, until, zone, ""); err == nil {
			cal.Freezes = append(cal.Freezes, f)
		}
		when := time.Unix(now%(1<<33), 0)
		shut := cal.At(when)
		if shut == nil {
			return
		}
		if strings.ContainsAny(shut.String(), "\n\r") {
			t.Errorf("%q", shut)
		}
		if !shut.Opens.IsZero() && (!shut.Opens.After(when) || cal.At(shut.Opens) != nil) {
			t.Errorf("at %s: %s", when, shut)
		}
	})
}
