package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// Over is what a policy judges.
type Over string

// The things that are judged.
const (
	Resources Over = "resource"
	Changes   Over = "change"
	Plans     Over = "plan"
)

// Match is which of those a policy judges, as it is written.
type Match struct {
	Kinds        []string          `json:"kinds,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Paths        []string          `json:"paths,omitempty"`
	Environments []string          `json:"environments,omitempty"`
	Actions      []schema.Action   `json:"actions,omitempty"`
	Suspects     bool              `json:"suspects,omitempty"`
}

// mostGlob bounds a glob, in bytes.
const mostGlob = 512

// glob is one that is ready to match: * stands for any letters but /, ** for
// any.
type glob struct{ re *regexp.Regexp }

func newGlob(text string) (glob, error) {
	if len(text) > mostGlob {
		return glob{}, fmt.Errorf("a glob of %d bytes (at most %d)", len(text), mostGlob)
	}
	var b strings.Builder
	b.WriteString(`^(?s:`)
	for len(text) > 0 {
		i := strings.IndexByte(text, '*')
		if i < 0 {
			i = len(text)
		}
		b.WriteString(regexp.QuoteMeta(text[:i]))
		switch text = text[i:]; {
		case strings.HasPrefix(text, "**"):
			b.WriteString(`.*`)
			text = text[2:]
		case text != "":
			b.WriteString(`[^/]*`)
			text = text[1:]
		}
	}
	b.WriteString(`)$`)
	re, err := regexp.Compile(b.String())
	return glob{re}, err
}

func newGlobs(texts []string) ([]glob, error) {
	globs := make([]glob, 0, len(texts))
	for _, t := range texts {
		g, err := newGlob(t)
		if err != nil {
			return nil, err
		}
		globs = append(globs, g)
	}
	return globs, nil
}

// matcher is a Match that is ready.
type matcher struct {
	kinds, paths, environments []glob
	labels                     map[string]glob
	actions                    []schema.Action
}

func newMatcher(m Match) (*matcher, error) {
	out := &matcher{labels: map[string]glob{}, actions: m.Actions}
	var err error
	if out.kinds, err = newGlobs(m.Kinds); err != nil {
		return nil, err
	}
	if out.paths, err = newGlobs(m.Paths); err != nil {
		return nil, err
	}
	if out.environments, err = newGlobs(m.Environments); err != nil {
		return nil, err
	}
	for k, v := range m.Labels {
		if out.labels[k], err = newGlob(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func anyOf(globs []glob, s string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g glob) bool { return g.re.MatchString(s) })
}

// subject is what a matcher goes by.
type subject struct {
	kind, file string
	labels     map[string]string
	action     schema.Action // "" of a resource
}

func (m *matcher) matches(s subject) bool {
	if !anyOf(m.kinds, s.kind) || !anyOf(m.paths, s.file) {
		return false
	}
	if s.action != "" && len(m.actions) > 0 && !slices.Contains(m.actions, s.action) {
		return false
	}
	for k, g := range m.labels {
		if v, ok := s.labels[k]; !ok || !g.re.MatchString(v) {
			return false
		}
	}
	return true
}
