package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Ref is a reference to another resource's output: @{kind/name.output},
// @{kind/name@target.output.key[0]}. It is comparable, so that it can key the
// inputs of a resource.
type Ref struct {
	ID     ID     // Target is empty where the text left it out
	Output string // the output's name
	Path   Path   // below the output; "" is the whole output
}

// MaxRef is the length in bytes of the longest reference.
const MaxRef = 512

// ParseRef reads a reference without its @{ and }.
func ParseRef(s string) (Ref, error) {
	if len(s) > MaxRef {
		return Ref{}, fmt.Errorf("a reference of %d bytes (at most %d)", len(s), MaxRef)
	}
	slash := strings.IndexByte(s, '/')
	if slash < 0 {
		return Ref{}, fmt.Errorf("@{%s}: want @{kind/name.output}", clip(s))
	}
	dot := strings.IndexByte(s[slash:], '.')
	if dot < 0 {
		return Ref{}, fmt.Errorf("@{%s}: names no output; want @{%s.output}", clip(s), clip(s))
	}
	id, err := ParseID(s[:slash+dot])
	if err != nil {
		return Ref{}, fmt.Errorf("@{%s}: %w", clip(s), err)
	}
	out, rest := word(s[slash+dot+1:])
	if out == "" {
		return Ref{}, fmt.Errorf("@{%s}: names no output", clip(s))
	}
	path, err := parseSteps(rest)
	if err != nil {
		return Ref{}, fmt.Errorf("@{%s}: %w", clip(s), err)
	}
	return Ref{ID: id, Output: out, Path: path}, nil
}

func word(s string) (head, rest string) {
	for i, r := range s {
		if !isWordByte(r) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// parseSteps reads .key and [0] and ["any key"].
func parseSteps(s string) (Path, error) {
	var p Path
	for s != "" {
		switch {
		case s[0] == '.':
			key, rest := word(s[1:])
			if key == "" {
				return "", fmt.Errorf("a key is missing after %q", ".")
			}
			p, s = p.Child(key), rest
		case strings.HasPrefix(s, `["`):
			quoted, err := strconv.QuotedPrefix(s[1:])
			if err != nil || !strings.HasPrefix(s[1+len(quoted):], "]") {
				return "", fmt.Errorf("%q is not [\"key\"]", clip(s))
			}
			key, err := strconv.Unquote(quoted)
			if err != nil {
				return "", err
			}
			p, s = p.Child(key), s[len(quoted)+2:]
		case s[0] == '[':
			digits, rest, ok := strings.Cut(s[1:], "]")
			if !ok || !isIndex(digits) {
				return "", fmt.Errorf("%q is not [number]", clip(s))
			}
			p, s = p.Child(digits), rest
		default:
			return "", fmt.Errorf("unexpected %q", clip(s))
		}
	}
	return p, nil
}

// String is the reference's text without @{ and }.
func (r Ref) String() string {
	s := r.ID.String() + "." + r.Output
	for _, step := range r.Path.Steps() {
		switch {
		case isIndex(step):
			s += "[" + step + "]"
		case isWord(step):
			s += "." + step
		default:
			s += "[" + strconv.Quote(step) + "]"
		}
	}
	return s
}

// MarshalText makes a Ref a JSON string and a JSON object's key.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (r *Ref) UnmarshalText(b []byte) error {
	v, err := ParseRef(string(b))
	if err == nil {
		*r = v
	}
	return err
}

// Segment is a stretch of a Text: literal characters, or a reference.
type Segment struct {
	Lit string
	Ref *Ref
}

// Text is a string of a spec, taken apart at its references.
type Text []Segment

// HasMark says cheaply whether s must go through ParseText at all.
func HasMark(s string) bool { return strings.Contains(s, "@{") }

// ParseText takes a string of a spec apart. @@{ is a literal @{.
func ParseText(s string) (Text, error) {
	var t Text
	var lit strings.Builder
	for {
		i := strings.Index(s, "@{")
		if i < 0 {
			lit.WriteString(s)
			break
		}
		if i > 0 && s[i-1] == '@' {
			lit.WriteString(s[:i-1] + "@{")
			s = s[i+2:]
			continue
		}
		end := closing(s[i:])
		if end < 0 {
			return nil, fmt.Errorf("%q has no closing }; a literal @{ is written @@{", clip(s[i:]))
		}
		ref, err := ParseRef(s[i+2 : i+end])
		if err != nil {
			return nil, err
		}
		if lit.WriteString(s[:i]); lit.Len() > 0 {
			t = append(t, Segment{Lit: lit.String()})
			lit.Reset()
		}
		t = append(t, Segment{Ref: &ref})
		s = s[i+end+1:]
	}
	if lit.Len() > 0 {
		t = append(t, Segment{Lit: lit.String()})
	}
	return t, nil
}

// closing is the index of the } that ends the reference at the start of s,
// minding quoted keys, or -1.
func closing(s string) int {
	quoted := false
	for i := 2; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '}' && !quoted:
			return i
		}
	}
	return -1
}

// Single is the reference of a text that is nothing else: such a text takes
// the output's type.
func (t Text) Single() (Ref, bool) {
	if len(t) == 1 && t[0].Ref != nil {
		return *t[0].Ref, true
	}
	return Ref{}, false
}

// Refs are the text's references, in order.
func (t Text) Refs() []Ref {
	var refs []Ref
	for _, s := range t {
		if s.Ref != nil {
			refs = append(refs, *s.Ref)
		}
	}
	return refs
}
