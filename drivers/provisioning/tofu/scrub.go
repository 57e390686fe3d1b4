package tofu

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// scrubber takes out of what the tool says whatever is known to be secret: its
// errors repeat what providers say, and those repeat what they were given.
type scrubber struct {
	secrets []schema.Secret
	replace *strings.Replacer
	mute    bool // it is not known what is secret: nothing is told
}

// scrubber knows the values of secret variables, what else is named, and what
// the tool gets of this process's environment.
func (w *workspace) scrubber(d *Driver, more []schema.Secret) *scrubber {
	all := slices.Clone(more)
	for _, v := range w.vars {
		all = append(all, v)
	}
	for _, name := range d.Pass {
		if v := os.Getenv(name); len(v) >= minPassed {
			all = append(all, schema.NewSecret(v))
		}
	}
	return newScrubber(all)
}

// minPassed is the length of a passed variable that can be a secret: a
// shorter one, such as a region's name, may be a word of the text.
const minPassed = 16

func newScrubber(secrets []schema.Secret) *scrubber {
	var forms []string
	for _, s := range secrets {
		forms = append(forms, formsOf(s.Reveal())...)
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // the longest first: one may begin another
	var pairs []string
	for _, f := range slices.Compact(forms) {
		if f != "" {
			pairs = append(pairs, f, schema.Redacted)
		}
	}
	return &scrubber{secrets: secrets, replace: strings.NewReplacer(pairs...)}
}

// formsOf are the ways in which a text may be written: also its lines, since
// what the tool says is wrapped.
func formsOf(text string) []string {
	if text == "" {
		return nil
	}
	js, err := json.Marshal(text)
	if err != nil {
		js = nil
	}
	plainJS := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(js))
	forms := []string{
		text, strings.Join(strings.Fields(text), " "), strings.Trim(string(js), `"`), strings.Trim(plainJS, `"`), strings.Trim(fmt.Sprintf("%q", text), `"`),
		url.QueryEscape(text), url.PathEscape(text), hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift, from := range []int{0, 2, 3} { // wherever it begins in what was encoded
			coded := e.EncodeToString([]byte(strings.Repeat("x", shift) + text))
			if len(coded)-from > 8 {
				forms = append(forms, coded[from:len(coded)-2])
			}
		}
	}
	return forms
}

// known are the secrets that it takes out; none of no scrubber.
func (s *scrubber) known() []schema.Secret {
	if s == nil {
		return nil
	}
	return s.secrets
}

// keptBack stands for what is not told.
const keptBack = "what the tool said is kept back: the state, which says what is secret, cannot be read"

func (s *scrubber) scrub(text string) string {
	if s.mute {
		return keptBack
	}
	return s.replace.Replace(text)
}
