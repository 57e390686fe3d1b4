package edit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is wanted.
const (
	MaxSets  = 100
	MaxText  = 64 << 10 // bytes of a path or a value
	maxSteps = 64
)

// Set is one wanted value.
type Set struct {
	Path  string `json:"path"`  // below the spec: containers[0].image, vars["a.b"]
	Value string `json:"value"` // a number, a truth value, null or a quoted text is what it is in JSON; else a text
}

// Error is why something is not edited.
type Error struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Msg  string `json:"message"`
	Help string `json:"hint,omitempty"`

	Missing bool `json:"missing,omitempty"` // there is no such declaration
}

// Error says where and why.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Msg
	case e.Line == 0:
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Hint says what to do about it.
func (e *Error) Hint() string { return e.Help }

func refuse(line int, help, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...), Help: help}
}

// ParseSet reads PATH=VALUE.
func ParseSet(text string) (Set, error) {
	at := equals(text)
	if at < 0 {
		return Set{}, refuse(0, "such as image=registry.example.org/web:v2", "%q is not PATH=VALUE", clip(text))
	}
	s := Set{Path: text[:at], Value: text[at+1:]}
	return s, s.Check()
}

// equals finds the = that ends a path: the first one outside of quotes.
func equals(text string) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '=' && !quoted:
			return i
		}
	}
	return -1
}

// Check says whether the path is one, and whether the value can be written.
func (s Set) Check() error {
	if _, err := parsePath(s.Path); err != nil {
		return err
	}
	if len(s.Value) > MaxText || !utf8.ValidString(s.Value) {
		return refuse(0, "", "%s: the value is no text of at most %d KiB", clip(s.Path), MaxText>>10)
	}
	for _, r := range s.text() {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || r == '\uFEFF' {
			return refuse(0, "", "%s: the value holds a control character", clip(s.Path))
		}
	}
	return nil
}

// text is the value where it is a text: a quoted one without its quotes.
func (s Set) text() string {
	var text string
	if len(s.Value) > 1 && s.Value[0] == '"' && json.Unmarshal([]byte(s.Value), &text) == nil {
		return text
	}
	return s.Value
}

// plain is the value where it is a number, a truth value or null.
func (s Set) plain() (string, bool) {
	var v any
	if json.Unmarshal([]byte(s.Value), &v) != nil {
		return "", false
	}
	switch v.(type) {
	case nil, bool, float64:
		return strings.TrimSpace(s.Value), true
	}
	return "", false
}

// step is one step of a path: a field, or an item of a list.
type step struct {
	key   string
	index int
	list  bool
}

func (s step) String() string {
	if s.list {
		return "[" + strconv.Itoa(s.index) + "]"
	}
	return s.key
}

// parsePath reads a path below the spec.
func parsePath(text string) ([]step, error) {
	bad := func(why string) ([]step, error) {
		return nil, refuse(0, `such as containers[0].image or vars["a.b"], below the spec`, "%q is not a path: %s", clip(text), why)
	}
	if len(text) > MaxText || !utf8.ValidString(text) {
		return bad("it is too long, or no text")
	}
	var steps []step
	for rest := text; rest != ""; {
		s, after, why := nextStep(rest, len(steps) == 0)
		if why == "" && len(steps) == maxSteps {
			why = "it is too deep"
		}
		if why != "" {
			return bad(why)
		}
		steps, rest = append(steps, s), after
	}
	if len(steps) == 0 {
		return bad("it is empty")
	}
	return steps, nil
}

// nextStep takes the first step of a path off it.
func nextStep(text string, first bool) (s step, rest, why string) {
	if inside, ok := strings.CutPrefix(text, "["); ok && !first {
		return bracket(inside)
	}
	if !first {
		if text[0] != '.' {
			return s, "", "a dot is missing"
		}
		text = text[1:]
	}
	if strings.HasPrefix(text, `"`) {
		return quoted(text)
	}
	end := strings.IndexAny(text, `.[]"`)
	if end < 0 {
		end = len(text)
	}
	if end == 0 || end < len(text) && (text[end] == ']' || text[end] == '"') {
		return s, "", "the name of a field is missing or needs quotes"
	}
	return step{key: text[:end]}, text[end:], ""
}

// bracket reads what follows a [.
func bracket(text string) (s step, rest, why string) {
	if strings.HasPrefix(text, `"`) {
		s, rest, why = quoted(text)
	} else {
		digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
		n, err := strconv.ParseUint(text[:digits], 10, 31)
		if err != nil {
			return s, "", "between [ and ] stands a number or a name in quotes"
		}
		s, rest = step{index: int(n), list: true}, text[digits:]
	}
	after, closed := strings.CutPrefix(rest, "]")
	if why == "" && !closed {
		why = "a ] is missing"
	}
	return s, after, why
}

// quoted reads a name in quotes.
func quoted(text string) (s step, rest, why string) {
	q, err := strconv.QuotedPrefix(text)
	if err == nil {
		s.key, err = strconv.Unquote(q)
	}
	if err != nil || !utf8.ValidString(s.key) || strings.ContainsFunc(s.key, unicode.IsControl) {
		return s, "", "a name in quotes is not one"
	}
	return s, text[len(q):], ""
}

// clip bounds what an error repeats.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
