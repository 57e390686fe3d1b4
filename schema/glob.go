package schema

import (
	"fmt"
	"path"
	"strings"
)

// Glob is a pattern of names with steps, slash-separated, such as paths of
// files or engines' addresses: * stands for anything within a step, ? for one
// character, [a-c] for one of several, and a step that is ** for any number of
// steps, none included. The zero Glob matches nothing.
type Glob struct {
	text  string
	steps []string
	plain []bool // the step means itself
}

// MaxGlob is the length in bytes of the longest pattern.
const MaxGlob = 1024

// ParseGlob reads a pattern.
func ParseGlob(text string) (Glob, error) {
	if len(text) > MaxGlob {
		return Glob{}, fmt.Errorf("a pattern of %d bytes (at most %d)", len(text), MaxGlob)
	}
	g := Glob{text: text}
	for step := range strings.SplitSeq(text, "/") {
		if step == "" || step == "." || step == ".." {
			return Glob{}, fmt.Errorf("%q is not the name of a file or folder", step)
		}
		if _, err := path.Match(step, ""); err != nil {
			return Glob{}, err
		}
		if step == "**" && len(g.steps) > 0 && g.steps[len(g.steps)-1] == "**" {
			continue
		}
		g.steps = append(g.steps, step)
		g.plain = append(g.plain, !strings.ContainsAny(step, `*?[\`))
	}
	return g, nil
}

// String is the pattern as it was written.
func (g Glob) String() string { return g.text }

// Match says whether name fits.
func (g Glob) Match(name string) bool { return g.MatchSteps(strings.Split(name, "/")) }

// MatchSteps is Match for a name that was taken apart at its slashes. It costs
// at most the product of both numbers of steps: only the last ** is gone back
// to.
func (g Glob) MatchSteps(steps []string) bool {
	if len(g.steps) == 0 {
		return false
	}
	p, s, star, from := 0, 0, -1, 0
	for s < len(steps) {
		switch {
		case p < len(g.steps) && g.steps[p] == "**":
			star, from = p, s
			p++
		case p < len(g.steps) && g.matchStep(p, steps[s]):
			p++
			s++
		case star >= 0:
			from++
			p, s = star+1, from
		default:
			return false
		}
	}
	for p < len(g.steps) && g.steps[p] == "**" {
		p++
	}
	return p == len(g.steps)
}

// Reaches says whether something that lies at or below steps may fit.
func (g Glob) Reaches(steps []string) bool {
	for i, step := range steps {
		switch {
		case i == len(g.steps):
			return false
		case g.steps[i] == "**":
			return true
		case !g.matchStep(i, step):
			return false
		}
	}
	return len(g.steps) > 0
}

func (g Glob) matchStep(i int, step string) bool {
	switch {
	case g.plain[i]:
		return g.steps[i] == step
	case g.steps[i] == "*":
		return !strings.Contains(step, "/") // taken apart at others than slashes
	}
	return matchStep(g.steps[i], step)
}

func matchStep(pattern, step string) bool {
	ok, err := path.Match(pattern, step)
	return ok && err == nil
}

// MarshalText makes a Glob a JSON string.
func (g Glob) MarshalText() ([]byte, error) { return []byte(g.text), nil }

// UnmarshalText is the inverse of MarshalText; the zero Glob is "".
func (g *Glob) UnmarshalText(b []byte) error {
	*g = Glob{}
	if len(b) == 0 {
		return nil
	}
	v, err := ParseGlob(string(b))
	if err == nil {
		*g = v
	}
	return err
}
