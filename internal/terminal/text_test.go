package terminal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                     "plain",
		"two\nlines\ttab\r":         `two\nlines\ttab\r`,
		"\x1b]0;title\x07\x1b[31mx": "\ufffd]0;title\ufffd\ufffd[31mx",
		"\u009b2J":                  "\ufffd2J",
		"a\u202eb\u2066c\u200fd":    "a\ufffdb\ufffdc\ufffdd",
		"\xff\xfe":                  "\ufffd\ufffd",
		"x [secret:00ff] y":         "x " + schema.Redacted + " y",
		"größer → 大":                "größer → 大",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tc := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"大大", 3, "大…"}, {"大大", 4, "大大"}, {"x", 0, ""}, {"ab", 1, "…"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}} {
		if got := clip(tc.s, tc.n); got != tc.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tc.s, tc.n, got, tc.want)
		}
	}
}

func TestValue(t *testing.T) {
	for in, want := range map[string]string{
		`"web/a.json"`: "web/a.json", `"two words"`: "two words", `""`: `""`, `"3"`: `"3"`, `"true"`: `"true"`, `3`: "3", `[1,2]`: "[1,2]",
		`"[secret:ff]"`: schema.Redacted, `"a [secret:ff]"`: "a " + schema.Redacted, ``: "(none)", `"a\nb"`: `"a\nb"`, `null`: "null",
	} {
		if got := Value([]byte(in)); got != want {
			t.Errorf("Value(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 300 * time.Millisecond: "0.3 s", 14 * time.Second: "14 s", 3 * time.Minute: "3 min", 5 * time.Hour: "5 h", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}

// TestLogWriter: what a process writes cannot move the cursor, also where a
// character comes in pieces.
func TestLogWriter(t *testing.T) {
	var b bytes.Buffer
	w := LogWriter(&b)
	for _, piece := range []string{"a\x1b[2J", "\xe2", "\x86", "\x92\tb\n", "\xff!\n"} {
		if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if got, want := b.String(), "a\ufffd[2J→\tb\n\ufffd!\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

type broken struct{}

var errBroken = errors.New("the pipe is closed")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestErr(t *testing.T) {
	p := &Printer{Out: broken{}}
	p.Note("x")
	p.Error("y", "z")
	p.Status(aStatus(), true)
	if !errors.Is(p.Err(), errBroken) {
		t.Errorf("Err is %v", p.Err())
	}
}

// TestDetect: what is no terminal gets neither width nor colour.
func TestDetect(t *testing.T) {
	if p := Detect(&bytes.Buffer{}, func(string) string { return "" }); p.Terminal || p.Width != 0 || p.Colour {
		t.Errorf("a buffer: %+v", p)
	}
}

// TestLive: the lines change in place, and stay at the end as they are then.
func TestLive(t *testing.T) {
	var b bytes.Buffer
	p := &Printer{Out: &b, Terminal: true, Width: 80, Height: 24, Now: func() time.Time { return now }}
	l := p.Live(now)
	l.Update(aStatus())
	done := aStatus()
	for i := range done.Resources {
		done.Resources[i].State = reconciler.Converged
	}
	l.Update(done)
	l.Stop()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) < len(done.Resources) {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, line := range lines[len(lines)-len(done.Resources):] {
		if !strings.Contains(line, "● converged") && !strings.Contains(line, "+ created") {
			t.Errorf("%q does not say converged", line)
		}
	}
}

// TestScreenInPlace: the second status stands where the first stood.
func TestScreenInPlace(t *testing.T) {
	var b bytes.Buffer
	p := &Printer{Out: &b, Terminal: true, Width: 80, Height: 5, Now: func() time.Time { return now }}
	s := p.Screen()
	s.Status(aStatus(), true)
	if n := strings.Count(b.String(), "\n"); n != 4 {
		t.Errorf("%d lines on a terminal of 5 rows", n)
	}
	b.Reset()
	s.Status(aStatus(), true)
	if !strings.HasPrefix(b.String(), "\x1b[4A\x1b[J") {
		t.Errorf("%q", b.String())
	}
}

// FuzzClean: nothing that comes out can move the cursor or colour anything,
// no token is left, and cutting never makes a line longer than it may be.
func FuzzClean(f *testing.F) {
	f.Add("\x1b[31m[secret:ab]\n", 5)
	f.Add("[secret:[secret:x]]\u202e大", 3)
	f.Add("\xff\u009b\u2028", 0)
	f.Fuzz(func(t *testing.T, s string, n int) {
		c := Clean(s)
		for _, r := range c {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r == 0x2028 || r == 0x2029 {
				t.Fatalf("Clean(%q) = %q holds %U", s, c, r)
			}
		}
		if !utf8.ValidString(c) || schema.HasToken(c) {
			t.Fatalf("Clean(%q) = %q", s, c)
		}
		if got := clip(c, n); n >= 0 && cells1(got) > n {
			t.Fatalf("clip(%q, %d) = %q", c, n, got)
		}
		if got := CleanLog([]byte(s)); bytes.ContainsAny(got, "\x1b\x07\x08\r") {
			t.Fatalf("CleanLog(%q) = %q", s, got)
		}
	})
}
