package policy

import (
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

// Match is which of those a policy judges, as it is written; patterns are those
// of schema.Glob.
type Match struct {
	Kinds        []string          `json:"kinds,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Paths        []string          `json:"paths,omitempty"`
	Environments []string          `json:"environments,omitempty"`
	Actions      []schema.Action   `json:"actions,omitempty"`
	Suspects     bool              `json:"suspects,omitempty"`
}

func newGlobs(texts []string) ([]schema.Glob, error) {
	globs := make([]schema.Glob, 0, len(texts))
	for _, t := range texts {
		g, err := schema.ParseGlob(t)
		if err != nil {
			return nil, err
		}
		globs = append(globs, g)
	}
	return globs, nil
}

// matcher is a Match that is ready.
type matcher struct {
	kinds, paths, environments []schema.Glob
	labels                     map[string]schema.Glob
	actions                    []schema.Action
}

func newMatcher(m Match) (*matcher, error) {
	out := &matcher{labels: map[string]schema.Glob{}, actions: m.Actions}
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
		if out.labels[k], err = schema.ParseGlob(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fitless finds the first of a Match's globs of kinds that fits no kind, and says
// what was probably meant: with it a policy would judge nothing, for ever.
func (m *Match) fitless() (glob, hint string) {
	var names []string
	for _, k := range schema.Kinds() {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	for _, glob := range m.Kinds {
		g, err := schema.ParseGlob(glob)
		if err == nil && slices.ContainsFunc(names, g.Match) {
			continue
		}
		switch meant := schema.Closest(glob, names); {
		case meant != "":
			hint = "did you mean " + meant + "?"
		case !strings.ContainsAny(glob, ".*?[{"):
			hint = "the uses of a template are judged by the resources that they yield; the kinds are " + strings.Join(names, ", ")
		default:
			hint = "the kinds are " + strings.Join(names, ", ")
		}
		return glob, hint
	}
	return "", ""
}

func anyOf(globs []schema.Glob, s string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g schema.Glob) bool { return g.Match(s) })
}

// subject is what a matcher goes by.
type subject struct {
	kind, file string
	labels     map[string]string
	was        []map[string]string // of what is owned; any of all these may be those that match
	wasFiles   []string            // likewise
	unlabelled bool                // its labels are not known: they may be any
	action     schema.Action       // "" of a resource
}

func (m *matcher) matches(s subject) bool {
	in := anyOf(m.paths, s.file) || slices.ContainsFunc(s.wasFiles, func(file string) bool { return anyOf(m.paths, file) })
	if !in || !anyOf(m.kinds, s.kind) {
		return false
	}
	if s.action != "" && len(m.actions) > 0 && !slices.Contains(m.actions, s.action) {
		return false
	}
	return m.labelled(s.labels) || slices.ContainsFunc(s.was, m.labelled) || s.unlabelled
}

// labelled says whether labels are those that are wanted.
func (m *matcher) labelled(labels map[string]string) bool {
	for k, g := range m.labels {
		if v, ok := labels[k]; !ok || !g.Match(v) {
			return false
		}
	}
	return true
}
