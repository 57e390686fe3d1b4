package config

import (
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
)

// Quarantine is what is done about a revision that does not converge.
type Quarantine struct {
	After  Duration `json:"after"`
	Revert bool     `json:"revert"` // propose to undo it
}

// After is an environment whose revisions are proposed to this one.
type After struct {
	Environment string   `json:"environment"`
	Healthy     Duration `json:"healthy"`
	Files       []string `json:"files"` // patterns (schema.Glob) of what is copied; nil: the commit is proposed

	Branch string `json:"-"` // that the other one follows; "": both follow one
}

// upstreams tells environments what those follow that they follow.
func (c *Config) upstreams() {
	for _, e := range c.Environments {
		if e.After == nil {
			continue
		}
		if from := c.section(e.After.Environment); from != nil && from.Source.Branch != e.Source.Branch {
			e.After.Branch = from.Source.Branch
		}
	}
}

// section is the environment of a name.
func (c *Config) section(name string) *Environment {
	i := slices.IndexFunc(c.Environments, func(e Environment) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Environments[i]
}

// quarantine finds what cannot be proposed, and times that are none.
func (c *checking) quarantine(e Environment, at schema.Path) {
	q := e.Quarantine
	if q == nil {
		return
	}
	if q.After <= 0 {
		c.find(at.Child("after"), "such as 30m", "%s: a revision needs some time to converge", at.Child("after"))
	}
	if q.Revert && e.Forge == nil {
		c.find(at.Child("revert"), "add forge", "%s: there is no forge to propose on", at.Child("revert"))
	}
}

// after finds what an environment cannot follow.
func (c *checking) after(e Environment, at schema.Path) {
	a := e.After
	if a == nil {
		return
	}
	for i, pattern := range a.Files {
		if _, err := schema.ParseGlob(pattern); err != nil {
			c.find(at.Child("files").Index(i), "such as **/*.yaml", "%s: %s", at.Child("files").Index(i), err)
		}
	}
	if e.Forge == nil {
		c.find(at, "add forge", "%s: there is no forge to propose on", at)
	}
	name := at.Child("environment")
	from := c.section(a.Environment)
	switch {
	case from == nil:
		c.find(name, "", "%s: there is no environment %q", name, a.Environment)
		return
	case c.circular(e):
		c.find(name, "", "%s: %s follows itself by it", name, e.Name)
		return
	case e.Source.Git == "" || from.Source.Git != e.Source.Git:
		c.find(name, "", "%s: %s follows another repository", name, a.Environment)
		return
	case from.Source.Branch == "":
		c.find(name, "give source.branch of "+a.Environment, "%s: it is not said which branch %s follows", name, a.Environment)
		return
	}
	c.afterFiles(e, *from, at)
}

// afterFiles finds files where the commit is proposed, and none where it cannot
// be.
func (c *checking) afterFiles(e, from Environment, at schema.Path) {
	files := at.Child("files")
	switch oneBranch := from.Source.Branch == e.Source.Branch; {
	case oneBranch && from.Source.Path == e.Source.Path:
		c.find(at.Child("environment"), "", "%s: both follow the same", at)
	case oneBranch && len(e.After.Files) == 0:
		c.find(at, "such as [\"**/*.yaml\"]", "%s is missing: both follow branch %s, so that files are copied", files, e.Source.Branch)
	case !oneBranch && len(e.After.Files) > 0:
		c.find(files, "leave it out", "%s: the branches differ, so that the commit itself is proposed", files)
	}
}

// circular says whether an environment follows itself, through others or not.
func (c *checking) circular(e Environment) bool {
	seen := map[string]bool{}
	for at := &e; at != nil && at.After != nil && !seen[at.Name]; at = c.section(at.After.Environment) {
		if seen[at.Name] = true; at.After.Environment == e.Name {
			return true
		}
	}
	return false
}
