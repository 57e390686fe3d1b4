package driverkit

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

const canary = "c4n4ry \"k&y\" <a/b+c>=é%\\"

func TestScrubber(t *testing.T) {
	s := NewScrubber(schema.NewSecret("c4n4ry"), schema.NewSecret(canary), schema.NewSecret(""))
	for _, form := range Forms(canary) {
		got := s.Scrub("before " + form + " after")
		if strings.Contains(got, form) || !strings.Contains(got, schema.Redacted) || !strings.HasPrefix(got, "before ") {
			t.Errorf("%q becomes %q", form, got)
		}
		if s.Holds(got) {
			t.Errorf("%q is said to hold a part", got)
		}
	}
	if got := s.Scrub("nothing"); got != "nothing" || s.Holds(got) {
		t.Errorf("%q", got)
	}
	if !s.Holds("invalid value: <a/b+c>=") || s.Holds("a/b") {
		t.Error("six characters in a row are a part, three are none")
	}
	if !NewScrubber(schema.NewSecret("k9")).Holds("it said k9") {
		t.Error("a short secret is not found")
	}
	if NewScrubber().Scrub("all of it") != "all of it" || (*Scrubber)(nil).Secrets() != nil {
		t.Error("without secrets something happens")
	}
}

func FuzzScrubber(f *testing.F) {
	f.Add("error: value \"s3cr3t\" is bad", "s3cr3t")
	f.Fuzz(func(t *testing.T, said, plain string) {
		s := NewScrubber(schema.NewSecret(plain))
		if got := s.Scrub(said); len(plain) > len(schema.Redacted) && strings.Contains(got, plain) {
			t.Errorf("%q holds %q", got, plain)
		}
	})
}
