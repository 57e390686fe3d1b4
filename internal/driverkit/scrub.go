package driverkit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// Scrubber takes known secrets out of text that an engine says: its errors may
// repeat what it was given, in the encodings of requests and of messages. It is
// immutable.
type Scrubber struct {
	secrets []schema.Secret
	replace *strings.Replacer
}

// NewScrubber knows secrets; empty ones are none.
func NewScrubber(secrets ...schema.Secret) *Scrubber {
	var forms []string
	for _, s := range secrets {
		forms = append(forms, Forms(s.Reveal())...)
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // the longest first: one may begin another
	var pairs []string
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, schema.Redacted)
	}
	return &Scrubber{secrets: secrets, replace: strings.NewReplacer(pairs...)}
}

// Secrets are those that it knows; none of no Scrubber.
func (s *Scrubber) Secrets() []schema.Secret {
	if s == nil {
		return nil
	}
	return s.secrets
}

// Scrub is the text with schema.Redacted for every form of a secret.
func (s *Scrubber) Scrub(text string) string { return s.replace.Replace(text) }

// fragment is how many characters of a secret in a row are too much of it.
const fragment = 6

// Holds says whether part of a secret is left in a text that was scrubbed:
// where an engine clips or wraps what it repeats, no form of the whole is found.
func (s *Scrubber) Holds(text string) bool {
	text = strings.ReplaceAll(text, schema.Redacted, "\x00")
	return slices.ContainsFunc(s.secrets, func(secret schema.Secret) bool {
		plain := secret.Reveal()
		if len(plain) <= fragment {
			return plain != "" && strings.Contains(text, plain)
		}
		for i := range len(plain) - fragment + 1 {
			if strings.Contains(text, plain[i:i+fragment]) {
				return true
			}
		}
		return false
	})
}

// Forms are the ways in which a text may be written, itself first; none of an
// empty one.
func Forms(text string) []string {
	if text == "" {
		return nil
	}
	js, _ := json.Marshal(text) // a string always marshals
	plainJS := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(js))
	forms := []string{
		text, strings.Join(strings.Fields(text), " "), inner(string(js)), inner(plainJS), inner(strconv.Quote(text)), inner(strconv.QuoteToASCII(text)),
		url.QueryEscape(text), url.PathEscape(text), url.UserPassword("", text).String()[1:],
		hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		forms = append(forms, e.EncodeToString([]byte(text)))
		for shift, from := range []int{0, 2, 3} { // wherever it begins in what was encoded
			coded := e.EncodeToString([]byte(strings.Repeat("x", shift) + text))
			if len(coded)-from > 8 {
				forms = append(forms, coded[from:len(coded)-2])
			}
		}
	}
	return slices.DeleteFunc(forms, func(f string) bool { return f == "" })
}

// inner is a quoted text without its quotes.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }
