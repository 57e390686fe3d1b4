package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/schema"
)

// Suspect is a place where something looks like a secret. The value is not in
// it, nor any part of it.
type Suspect struct {
	Path  schema.Path `json:"path"`           // from the root of the declaration; "" where it is in a file
	File  string      `json:"file,omitempty"` // that the resource names
	Line  int         `json:"line,omitempty"` // in the file, or in a text of several lines
	Shape string      `json:"shape"`          // what it looks like, in words
	Where string      `json:"where"`          // the place for people: spec.env.KEY, a.conf:3
}

// Bounds of what is scanned for one resource.
const (
	mostScanned  = 1 << 20 // bytes of one text
	mostSuspects = 20
)

// shapes are the known ones. Each is one that has nothing else in it, so that
// finding it is enough.
var shapes = []struct {
	words string
	sign  string // that must be there for the expression to be tried
	re    *regexp.Regexp
}{
	{"a private key", "PRIVATE KEY-----", regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----`)},
	{"an AWS access key", "A", regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`)},
	{"a GitHub token", "gh", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36,255}\b`)},
	{"a GitHub token", "github_pat_", regexp.MustCompile(`\bgithub_pat_[A-Za-z0-9_]{50,255}\b`)},
	{"a GitLab token", "glpat-", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,64}`)},
	{"a Slack token", "xox", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,255}`)},
	{"a Stripe key", "k_live_", regexp.MustCompile(`\b[sr]k_live_[A-Za-z0-9]{16,255}\b`)},
	{"a Google API key", "AIza", regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}`)},
	{"a Vault token", "hv", regexp.MustCompile(`\bhv[sbr]\.[A-Za-z0-9_-]{20,255}`)},
	{"an npm token", "npm_", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`)},
	{"a PyPI token", "pypi-", regexp.MustCompile(`\bpypi-[A-Za-z0-9_-]{50,255}`)},
	{"a SendGrid key", "SG.", regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}`)},
	{"an age key", "AGE-SECRET-KEY-", regexp.MustCompile(`\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b`)},
	{"a JSON web token", "eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)},
	{"a password in a URL", "://", regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^/\s:@{}$<>"']+:[^/\s:@{}$<>"'*]{4,}@[A-Za-z0-9\[]`)},
}

var (
	// harmless are long texts that look random and are public.
	harmlessRE = regexp.MustCompile(`(?s)-----BEGIN (?:CERTIFICATE|(?:[A-Z0-9]+ )?PUBLIC KEY|CERTIFICATE REQUEST|X509 CRL)-----.*?-----END [A-Z0-9 ]+-----` +
		`|\bsha(?:1|256|384|512)[-:][A-Za-z0-9+/=_-]+|\b(?:h1|zh|sha):[A-Za-z0-9+/=]+|\b(?:ssh-[a-z0-9-]+|ecdsa-[a-z0-9-]+) AAAA[A-Za-z0-9+/=]+`)
	runRE   = regexp.MustCompile(`[A-Za-z0-9+/_=-]{24,}`)
	breakRE = regexp.MustCompile(`[-_/+=]`)
	keyRE   = regexp.MustCompile(`(?i)(?:^|[._-]|[a-z])(?:passw(?:or)?d|passphrase|secret|token|api_?key|access_?key|private_?key)$`)
	wordRE  = regexp.MustCompile(`^[a-z]+(?:[-_./:][a-z]+)*$`)
)

// scan finds what looks like a secret in a text: the shape of the first one,
// and the offset where it is; "" for none. key is the name of the field that
// holds it, "" where there is none.
func scan(text, key string) (shape string, at int) {
	text = text[:min(len(text), mostScanned)]
	for _, s := range shapes {
		if !strings.Contains(text, s.sign) {
			continue
		}
		if loc := s.re.FindStringIndex(text); loc != nil {
			return s.words, loc[0]
		}
	}
	if keyRE.MatchString(key) && assigned(text) {
		return "the value of " + shortKey(key), 0
	}
	if len(text) < 24 {
		return "", 0
	}
	public := harmlessRE.FindAllStringIndex(text, -1)
	for _, loc := range runRE.FindAllStringIndex(text, -1) {
		known := slices.ContainsFunc(public, func(p []int) bool { return loc[0] >= p[0] && loc[0] < p[1] })
		if !known && random(text[loc[0]:loc[1]]) {
			return "a random text", loc[0]
		}
	}
	return "", 0
}

func shortKey(key string) string {
	const most = 40
	if len(key) > most {
		key = strings.ToValidUTF8(key[:most], "") + "…"
	}
	return key
}

// assigned says whether the value of a field that is called a secret is one: a
// literal that is no reference, no name and no path.
func assigned(text string) bool {
	switch {
	case len(text) < 8 || len(text) > 256 || strings.ContainsAny(text, " \t\n{}$<>") || strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./"):
		return false
	case schema.HasMark(text) || wordRE.MatchString(text):
		return false
	}
	return entropy(text) >= 2.8
}

// random says whether a run of letters and digits looks drawn at random: not
// hexadecimal, as hashes and UUIDs are, and not made of words. What is drawn
// from lower-case letters and digits alone is not told from a name.
func random(run string) bool {
	longest := ""
	for _, part := range breakRE.Split(run, -1) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	if len(longest) < 16 || strings.HasPrefix(run, "AAAA") {
		return false
	}
	var upper, lower, digits, turns int
	was := byte(0)
	for i := range len(longest) {
		class := byte('l')
		switch c := longest[i]; {
		case c >= '0' && c <= '9':
			class = 'd'
			digits++
		case c >= 'A' && c <= 'Z':
			class = 'u'
			upper++
		default:
			lower++
		}
		if was != 0 && was != class {
			turns++
		}
		was = class
	}
	return upper >= 2 && lower >= 2 && digits >= 2 && turns*5 >= len(longest)*2 && entropy(longest) >= 3.3
}

// entropy is Shannon's, in bits a letter.
func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	bits, n := 0.0, float64(len(s))
	for _, c := range count {
		if c > 0 {
			p := float64(c) / n
			bits -= p * math.Log2(p)
		}
	}
	return bits
}

// suspectsOf finds what looks like a secret in a resource: in its spec, in its
// labels, and in the files that it names.
func suspectsOf(r *schema.Resource) []Suspect {
	s := &scanner{}
	var spec any
	if json.Unmarshal(r.Spec, &spec) == nil {
		s.value("/spec", "", spec)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		s.text(schema.Path("/metadata/labels").Child(k), k, r.Labels[k])
	}
	for _, f := range r.Files {
		s.file(f)
	}
	return s.found
}

type scanner struct{ found []Suspect }

func (s *scanner) add(found Suspect) {
	found.Where = found.Path.String()
	if found.File != "" {
		found.Where = fmt.Sprintf("%s:%d", found.File, found.Line)
	}
	if len(s.found) < mostSuspects {
		s.found = append(s.found, found)
	}
}

func (s *scanner) value(at schema.Path, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			s.value(at.Child(k), k, v[k])
		}
	case []any:
		for i, item := range v {
			s.value(at.Index(i), key, item)
		}
	case string:
		s.text(at, key, v)
	}
}

func (s *scanner) text(at schema.Path, key, text string) {
	shape, offset := scan(text, key)
	if shape == "" {
		return
	}
	found := Suspect{Path: at, Shape: shape}
	if strings.Contains(text, "\n") {
		found.Line = 1 + strings.Count(text[:offset], "\n")
	}
	s.add(found)
}

// file scans a file line by line, so that each place is found, after looking at
// the whole for what spans lines.
func (s *scanner) file(f schema.File) {
	if !utf8.Valid(f.Data) || bytes.IndexByte(f.Data, 0) >= 0 {
		return
	}
	text := string(f.Data[:min(len(f.Data), mostScanned)])
	blank := harmlessRE.ReplaceAllStringFunc(text, func(public string) string { return strings.Repeat("\n", strings.Count(public, "\n")) })
	n := 0
	for line := range strings.Lines(blank) {
		n++
		if shape, _ := scan(line, ""); shape != "" {
			s.add(Suspect{File: f.Path, Line: n, Shape: shape})
		}
	}
}

// String is what a finding says of a suspect.
func (s Suspect) String() string {
	return s.Where + ": looks like " + s.Shape
}
