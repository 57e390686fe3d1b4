package config

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// ofRepository are the fields of what is followed that a folder has no use
// for.
var ofRepository = []string{"branch", "path", "tokenFile", "username", "caFile", "keyFile", "keyPassphraseFile", "agent", "knownHostsFile", "signers"}

// followed finds fields that what is followed has no use for.
func (c *checking) followed(e Environment, at schema.Path) {
	if e.Source.Dir != "" {
		path := at.Child("source").Child("dir")
		c.report(c.KeyAt(path), path, "source: {git: …}; a folder is followed by aplomb up", "%s: the daemon follows declarations by commit, in a repository", path)
	}
	for name, s := range e.followed() {
		if s.Dir == "" {
			continue
		}
		for _, field := range ofRepository {
			path := at.Child(name).Child(field)
			if _, written := c.values[path]; written {
				c.report(c.KeyAt(path), path, "leave it out, or name a repository: git", "%s: a folder has no use for it", path)
			}
		}
	}
}

// nameOfValue is a name that CUE can select by.
var nameOfValue = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// ValidValueName says whether templates could select a value by that name.
func ValidValueName(name string) bool { return nameOfValue.MatchString(name) }

// valueNames finds names that templates could not use.
func (c *checking) valueNames(e Environment, at schema.Path) {
	for name := range e.Values {
		if path := at.Child(name); !ValidValueName(name) {
			c.report(c.KeyAt(path), path, "letters, digits and _, a letter first", "%q is not a name of a value", name)
		}
	}
}

// paths finds rules that could never mean what they say.
func (c *checking) paths(e Environment, at schema.Path) {
	seen := map[string]bool{}
	for i, rule := range e.Paths {
		here := at.Index(i)
		path := here.Child("path")
		switch {
		case rule.Path != "" && !fs.ValidPath(rule.Path):
			c.find(path, `slash-separated, below what the source follows; "" is all of it`, "%s: %q is not a folder", path, rule.Path)
		case strings.ContainsAny(rule.Path, "*?["):
			c.find(path, "name each folder by itself; what lies below it is meant too", "%s: %q is a pattern, and a rule is about one folder", path, rule.Path)
		case seen[rule.Path]:
			c.find(path, "", "%s: there are two rules for %q", path, rule.Path)
		}
		seen[rule.Path] = true
		for name, list := range map[string][]string{
			"kinds": rule.Kinds, "templates": rule.Templates, "targets": rule.Targets, "names": rule.Names,
			"nomadNamespaces": rule.NomadNamespaces, "vaultPaths": rule.VaultPaths,
		} {
			for n, text := range list {
				c.pattern(e, here.Child(name).Index(n), name, text)
			}
		}
	}
}

// pattern finds what is no pattern, and one that fits nothing there is.
func (c *checking) pattern(e Environment, at schema.Path, field, text string) {
	g, err := schema.ParseGlob(text)
	if err != nil {
		c.find(at, "", "%s: %q is no pattern: %s", at, text, err)
		return
	}
	switch field {
	case "kinds":
		var names []string
		for _, k := range schema.Kinds() {
			names = append(names, k.Name)
		}
		if !slices.ContainsFunc(names, g.Match) {
			c.find(at, didYouMean(text, names), "%s: %q fits no kind", at, text)
		}
	case "targets":
		var names []string
		for _, t := range e.Targets {
			names = append(names, t.Name)
		}
		if !slices.ContainsFunc(names, g.Match) {
			c.find(at, didYouMean(text, names), "%s: %q fits no target of %s", at, text, e.Name)
		}
	case "templates":
		if strings.Contains(text, ".") {
			c.find(at, "kinds with a dot stand among kinds", "%s: %q is no template", at, text)
		}
	}
}

func didYouMean(got string, known []string) string {
	if near := schema.Closest(got, known); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}
