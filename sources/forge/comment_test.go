package forge

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestMarked(t *testing.T) {
	text, err := Compose("prod", "**hello**\r\n", 0)
	if err != nil || text != "<!-- aplomb:prod -->\n**hello**" {
		t.Fatalf("%q, %v", text, err)
	}
	for body, want := range map[string]bool{
		text: true, strings.ReplaceAll(text, "\n", "\r\n"): true, "<!-- aplomb:prod -->": true, "<!-- aplomb:prod-eu -->\nx": false,
		"x\n" + text: false, " " + text: false, "> " + text: false, "": false,
	} {
		if got := Marked(body, "prod"); got != want {
			t.Errorf("%q: %v", body, got)
		}
	}
}

func TestCut(t *testing.T) {
	plain := strings.Repeat("a line\n", 100)
	for name, c := range map[string]struct {
		text  string
		limit int
		has   []string
	}{
		"short enough":   {"text", 4, []string{"text"}},
		"at a line":      {plain, 200, []string{"a line\n\n*Cut here"}},
		"in code":        {"```diff\n" + plain, 200, []string{"a line\n```\n\n*Cut here"}},
		"longer fences":  {"````\n```\n" + plain, 200, []string{"\n````\n\n*Cut here"}},
		"folded":         {"<details>\n<details>\n" + plain, 200, []string{"</details></details>\n\n*Cut here"}},
		"folded in code": {"```\n<details>\n" + plain, 200, []string{"a line\n```\n\n*Cut here"}},
		"one long line":  {strings.Repeat("é", 300), 200, []string{"é\n\n*Cut here"}},
		"no room":        {strings.Repeat("é", 30), 5, []string{"éé"}},
	} {
		got := Cut(c.text, c.limit)
		if len(got) > c.limit || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes: %q", name, len(got), got)
		}
		for _, part := range c.has {
			if !strings.Contains(got, part) {
				t.Errorf("%s: no %q in %q", name, part, got)
			}
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("```\n<details>\nx\n", 100)
	f.Add(strings.Repeat("é`\n", 100), 150)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		got := Cut(text, limit)
		if len(got) > max(limit, 0) && got != text || utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("%q to %d bytes: %q", text, limit, got)
		}
		if got != text && strings.HasSuffix(got, cutNote) && closings(strings.TrimSuffix(got, cutNote)) != "" {
			t.Errorf("%q leaves open: %q", text, got)
		}
	})
}

func TestFit(t *testing.T) {
	got := Status{Context: " aplomb/prod ", Description: "two\nlines  and é" + strings.Repeat("x", 50)}.Fit(Limits{Description: 20, Context: 6})
	if got.Context != "aplom…" || got.Description != "two lines and éxxxx…" || utf8.RuneCountInString(got.Description) != 20 {
		t.Errorf("got %+v", got)
	}
}

func TestLastWords(t *testing.T) {
	at := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	by := func(id, name string, v Verdict, sec int) Review {
		return Review{Author: Account{ID: id, Name: name}, Verdict: v, At: at.Add(time.Duration(sec) * time.Second)}
	}
	got := LastWords([]Review{
		by("1", "ana", Approved, 5), by("2", "bo", Approved, 1), by("1", "ana-renamed", Changes, 9), by("2", "bo", Dismissed, 1), by("3", "ana", Approved, 2),
	})
	var words []string
	for _, r := range got {
		words = append(words, r.Author.ID+" "+string(r.Verdict))
	}
	if s := strings.Join(words, ", "); s != "2 dismissed, 3 approved, 1 changes" {
		t.Errorf("got %s", s)
	}
}

func TestPages(t *testing.T) {
	page := func(n int) []int { return make([]int, n) }
	_, err := Pages(nil, func(int) ([]int, bool, error) { return page(100), true, nil })
	if !errors.Is(err, ErrRefused) {
		t.Errorf("a list without end: %v", err)
	}
	got, err := Pages(nil, func(int) ([]int, bool, error) { return nil, true, nil })
	if err != nil || len(got) != 0 {
		t.Errorf("empty pages without end: %v", err)
	}
	taken := 0
	_, err = Pages(func(int) bool { taken++; return taken < 150 }, func(int) ([]int, bool, error) { return page(100), true, nil })
	if err != nil || taken != 150 {
		t.Errorf("%d taken, %v", taken, err)
	}
	broken := errors.New("broken")
	if _, err = Pages(nil, func(p int) ([]int, bool, error) { return page(1), true, map[int]error{3: broken}[p] }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestErrors(t *testing.T) {
	soon := time.Now().Add(time.Minute)
	low := &Error{Class: ErrLimited, Err: errors.New("slow down"), Help: "wait", At: soon}
	err := Fail("list", "a/b", low)
	var hinted interface{ Hint() string }
	if !errors.Is(err, ErrLimited) || !RetryAt(err).Equal(soon) || !errors.As(err, &hinted) || hinted.Hint() != "wait" || err.Error() != "list a/b: slow down" {
		t.Errorf("got %v", err)
	}
	if Fail("list", "a/b", nil) != nil {
		t.Error("an error of nothing")
	}
	if err := Fail("list", "a/b", errors.New("invalid character '<'")); !errors.Is(err, ErrUnreachable) {
		t.Errorf("what is not of the API's form: %v", err)
	}
}

func TestOpenOnce(t *testing.T) {
	d := Draft{Branch: "b", Base: "main"}
	theirs := Proposal{ID: "1", HeadBranch: "b", Branch: "main", State: Open}
	looks := 0
	look := func() ([]Proposal, error) {
		if looks++; looks == 1 {
			return nil, nil
		}
		return []Proposal{{ID: "0", HeadBranch: "b", Branch: "main", State: Open, Fork: true}, theirs}, nil
	}
	refused := &Error{Class: ErrRefused}
	if p, err := OpenOnce(d, look, func() (Proposal, error) { return Proposal{}, refused }); err != nil || p.ID != "1" {
		t.Errorf("got %+v, %v", p, err)
	}
	none := func() ([]Proposal, error) { return nil, nil }
	if _, err := OpenOnce(d, none, func() (Proposal, error) { return Proposal{}, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}

// FuzzMarked: a comment of ours is found by its own key and by no other, however
// a forge stores it, and a body cannot make it another one's.
func FuzzMarked(f *testing.F) {
	f.Add("plan/prod", "plan/prod-eu", "body", 200)
	f.Add("a", "b", "<!-- aplomb:b -->\nquoted", 0)
	f.Add("a", "A", "\r\n<!-- aplomb:A -->", 40)
	f.Add("0", "1", "\r\r\n0", 0) // an end of a line by itself
	f.Fuzz(func(t *testing.T, key, other, body string, limit int) {
		text, err := Compose(key, body, limit)
		if err != nil {
			if keyRE.MatchString(key) {
				t.Fatal(err)
			}
			return
		}
		if limit > 0 && len(text) > limit {
			t.Fatalf("%d bytes of %d", len(text), limit)
		}
		if limit > 0 && limit < 200+len(cutNote) {
			return // not even the mark has room
		}
		stored := strings.TrimRight(strings.ReplaceAll(text, "\n", "\r\n"), "\r\n")
		if !Marked(text, key) || !Marked(stored, key) || !Same(text, stored) {
			t.Fatalf("%q is not found by %q", text, key)
		}
		if other != key && Marked(text, other) {
			t.Fatalf("%q is found by %q", text, other)
		}
	})
}
