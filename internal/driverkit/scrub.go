package driverkit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aplomb-dev/aplomb/schema"
)

// Scrubber takes known secrets out of text that an engine says: its errors may
// repeat what it was given, in the encodings of requests and of messages. It is
// immutable.
type Scrubber struct {
	secrets  []schema.Secret
	replacer func() *strings.Replacer // of every form of a secret
	parts    func() parts             // see Holds
}

// NewScrubber knows secrets; empty ones are none.
func NewScrubber(secrets ...schema.Secret) *Scrubber {
	return &Scrubber{
		secrets:  secrets,
		replacer: sync.OnceValue(func() *strings.Replacer { return replacerOf(secrets) }),
		parts:    sync.OnceValue(func() parts { return partsOf(secrets) }),
	}
}

func replacerOf(secrets []schema.Secret) *strings.Replacer {
	var forms []string
	for _, s := range secrets {
		forms = append(forms, Forms(s.Reveal())...)
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // the longest first: one may begin another
	var pairs []string
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, schema.Redacted)
	}
	return strings.NewReplacer(pairs...)
}

// Secrets are those that it knows; none of no Scrubber.
func (s *Scrubber) Secrets() []schema.Secret {
	if s == nil {
		return nil
	}
	return s.secrets
}

// Scrub is the text with schema.Redacted for every form of a secret.
func (s *Scrubber) Scrub(text string) string { return s.replacer().Replace(text) }

// fragment is how many bytes of a secret in a row are too much of it.
const fragment = 6

// parts are all fragments of secrets, and those that are shorter whole.
type parts struct {
	all   map[uint64]bool
	least int // bytes of the shortest
}

func partsOf(secrets []schema.Secret) parts {
	p := parts{map[uint64]bool{}, fragment}
	for _, s := range secrets {
		plain := s.Reveal()
		if plain == "" {
			continue
		}
		p.least = min(p.least, len(plain))
		for i := range max(1, len(plain)-fragment+1) {
			p.all[part(plain[i:min(i+fragment, len(plain))])] = true
		}
	}
	return p
}

// part is at most fragment bytes as a number, which takes less room than text.
func part(text string) (n uint64) {
	for i := range len(text) {
		n = n<<8 | uint64(text[i])
	}
	return n | uint64(len(text))<<(8*fragment)
}

// Holds says whether part of a secret is left in a text that was scrubbed:
// where an engine clips or wraps what it repeats, no form of the whole is found.
// It takes as long as the text is, however much is secret.
func (s *Scrubber) Holds(text string) bool {
	text = strings.ReplaceAll(text, schema.Redacted, "\x00")
	p := s.parts()
	for i := range len(text) {
		for n := p.least; n <= min(fragment, len(text)-i); n++ {
			if p.all[part(text[i:i+n])] {
				return true
			}
		}
	}
	return false
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
