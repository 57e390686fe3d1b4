package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

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
	// Unread says that it was not looked through from there on, which is no
	// better than a secret: Shape says why.
	Unread bool `json:"unread,omitempty"`
}

// Bounds of what is scanned. It happens in this process, so that all of it
// takes time in proportion to the text, whatever the text is.
const (
	mostScanned  = 1 << 20 // bytes of one text
	mostTogether = 8 << 20 // bytes of one resource
	mostSuspects = 20
)

// tooLarge is the shape of what was not looked through to its end.
const tooLarge = "too large to be looked through"

var (
	// harmlessRE are texts on one line that look random and are public. No
	// match of it looks beyond where the match ends.
	harmlessRE = regexp.MustCompile(`\bsha(?:1|256|384|512)[-:][A-Za-z0-9+/=_-]+|\b(?:h1|zh|sha):[A-Za-z0-9+/=]+|\b(?:ssh-[a-z0-9-]+|ecdsa-[a-z0-9-]+) AAAA[A-Za-z0-9+/=]+`)
	keyRE      = regexp.MustCompile(`(?i)(?:^|[._-]|[a-z])(?:passw(?:or)?d|passphrase|secret|token|api_?key|access_?key|private_?key)$`)
	wordRE     = regexp.MustCompile(`^[a-z]+(?:[-_./:][a-z]+)*$`)
)

// scan finds what looks like a secret in a text: the shape of the first one,
// and the offset where it is; "" for none. key is the name of the field that
// holds it, "" where there is none.
func scan(text, key string) (shape string, at int) {
	if shape, at = shaped(text); shape != "" {
		return shape, at
	}
	if keyRE.MatchString(key) && assigned(text) {
		return "the value of " + shortKey(key), 0
	}
	if at = randomIn(text, 0, publicBlocks(text)); at >= 0 {
		return "a random text", at
	}
	at = 0
	for line := range strings.Lines(text) {
		if key := assignment(line); key != "" {
			return "the value of " + shortKey(key), at
		}
		at += len(line)
	}
	return "", 0
}

// span is a part of a text, from its first byte to behind its last.
type span struct{ from, to int }

// publicBlocks are the certificates and public keys of a text, in order. A block
// ends at the next dashes, which name its end, or is none: each byte is looked
// at once, and nobody hides anything between a beginning and a far end.
func publicBlocks(text string) []span {
	const begin, end, dashes, mostLabel = "-----BEGIN ", "-----END ", "-----", 64
	var blocks []span
	for at := 0; ; {
		i := strings.Index(text[at:], begin)
		if i < 0 {
			return blocks
		}
		from := at + i
		at = from + len(begin)
		label, _, ok := strings.Cut(text[at:min(at+mostLabel, len(text))], dashes)
		if !ok || !isPublic(label) {
			continue
		}
		at += len(label) + len(dashes)
		i = strings.Index(text[at:], dashes)
		if i < 0 {
			return blocks
		}
		if at += i; strings.HasPrefix(text[at:], end+label+dashes) {
			at += len(end) + len(label) + len(dashes)
			blocks = append(blocks, span{from, at})
		}
	}
}

// isPublic says of the label of a block whether anybody may see what it holds.
func isPublic(label string) bool {
	return strings.HasSuffix(label, "CERTIFICATE") || label == "CERTIFICATE REQUEST" || label == "X509 CRL" || label == "PUBLIC KEY" || strings.HasSuffix(label, " PUBLIC KEY")
}

// randomIn is where a text has a run that looks drawn at random and is not
// public; -1 for nowhere. The text begins at base of the one that has the blocks.
func randomIn(text string, base int, blocks []span) int {
	var public [][]int
	looked := false
	for from, to := nextRun(text, 0); to > from; from, to = nextRun(text, to) {
		if !random(text[from:to]) {
			continue
		}
		if !looked {
			public, looked = harmlessRE.FindAllStringIndex(text, -1), true
		}
		for len(public) > 0 && public[0][1] <= from {
			public = public[1:]
		}
		for len(blocks) > 0 && blocks[0].to <= base+from {
			blocks = blocks[1:]
		}
		if (len(public) == 0 || public[0][0] > from) && (len(blocks) == 0 || blocks[0].from > base+from) {
			return from
		}
	}
	return -1
}

// nextRun is the next run of letters, digits and what encodings put between
// them; nothing where there is none.
func nextRun(text string, at int) (from, to int) {
	const shortest = 24
	for from = at; from < len(text); from = to + 1 {
		for to = from; to < len(text) && (alphanumeric(text[to]) || breaks(text[to])); to++ {
		}
		if to-from >= shortest {
			return from, to
		}
	}
	return len(text), len(text)
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func breaks(c byte) bool { return c == '-' || c == '_' || c == '/' || c == '+' || c == '=' }

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
	for from, to := 0, 0; to <= len(run); to++ {
		if to < len(run) && !breaks(run[to]) {
			continue
		}
		if to-from > len(longest) {
			longest = run[from:to]
		}
		from = to + 1
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
// labels, and in the files that it names. An error means that ctx ended.
func suspectsOf(ctx context.Context, r *schema.Resource) ([]Suspect, error) {
	s := &scanner{ctx: ctx, left: mostTogether}
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
	return s.found, ctx.Err()
}

// scanner looks through the texts of one resource.
type scanner struct {
	ctx   context.Context // asked before each text
	left  int             // bytes that may yet be looked through
	found []Suspect
}

// done says that there is no point in going on.
func (s *scanner) done() bool { return len(s.found) >= mostSuspects || s.ctx.Err() != nil }

func (s *scanner) add(found Suspect) {
	found.Where = found.Path.String()
	if found.File != "" {
		found.Where = fmt.Sprintf("%s:%d", found.File, found.Line)
	}
	if !s.done() {
		s.found = append(s.found, found)
	}
}

// part is as much of a text as is looked through.
func (s *scanner) part(text string) string {
	part := text[:min(len(text), mostScanned, s.left)]
	s.left -= len(part)
	return part
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
	if s.done() {
		return
	}
	part := s.part(text)
	found := Suspect{Path: at}
	var offset int
	if found.Shape, offset = scan(part, key); found.Shape == "" && len(part) < len(text) {
		found.Shape, found.Unread, offset = tooLarge, true, len(part)
	}
	if found.Shape == "" {
		return
	}
	if strings.Contains(text, "\n") {
		found.Line = 1 + strings.Count(text[:offset], "\n")
	}
	s.add(found)
}

// file scans a file line by line, so that each place is found. What is not text
// is scanned as the bytes that it is.
func (s *scanner) file(f schema.File) {
	if s.done() {
		return
	}
	whole := string(f.Data)
	if strings.HasPrefix(whole, "\xff\xfe") || strings.HasPrefix(whole, "\xfe\xff") { // UTF-16
		whole = strings.ReplaceAll(whole, "\x00", "")
	}
	text := s.part(whole)
	blocks := publicBlocks(text)
	n, base := 0, 0
	for line := range strings.Lines(text) {
		n++
		for len(blocks) > 0 && blocks[0].to <= base {
			blocks = blocks[1:]
		}
		shape, _ := shaped(line)
		if shape == "" && randomIn(line, base, blocks) >= 0 {
			shape = "a random text"
		}
		if key := assignment(line); shape == "" && key != "" {
			shape = "the value of " + shortKey(key)
		}
		if shape != "" {
			s.add(Suspect{File: f.Path, Line: n, Shape: shape})
		}
		if base += len(line); s.done() {
			return
		}
	}
	if len(text) < len(whole) {
		s.add(Suspect{File: f.Path, Line: max(n, 1), Shape: tooLarge, Unread: true})
	}
}

// String is what a finding says of a suspect.
func (s Suspect) String() string {
	if s.Unread {
		return s.Where + ": is " + s.Shape
	}
	return s.Where + ": looks like " + s.Shape
}
