package driverkit

import (
	"bytes"
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

// TestHoldsOfMuch: somebody else chooses what is secret in a plan, and what else is
// told; neither makes the other take longer.
func TestHoldsOfMuch(t *testing.T) {
	much, text := bytes.Repeat([]byte("====="), 1<<18), strings.Repeat("=", 4<<10)
	for i := 5; i < len(much); i += 6 {
		much[i] = byte('a' + i%26)
	}
	s := NewScrubber(schema.NewSecret(string(much)))
	for range 500 {
		if s.Holds(text) {
			t.Fatal("it holds nothing of it")
		}
	}
	if !s.Holds(text + string(much[len(much)-fragment:])) {
		t.Error("the end of it is not found")
	}
}

func FuzzScrubber(f *testing.F) {
	f.Add("error: value \"s3cr3t\" is bad", "s3cr3t")
	f.Fuzz(func(t *testing.T, said, plain string) {
		s := NewScrubber(schema.NewSecret(plain))
		if got := s.Scrub(said); len(plain) > len(schema.Redacted) && strings.Contains(got, plain) {
			t.Errorf("%q holds %q", got, plain)
		}
		text, part := strings.ReplaceAll(said, schema.Redacted, "\x00"), false
		for i := range max(1, len(plain)-fragment+1) {
			part = part || plain != "" && strings.Contains(text, plain[i:min(i+fragment, len(plain))])
		}
		if s.Holds(said) != part {
			t.Errorf("%q holds part of %q: %v", said, plain, !part)
		}
	})
}
