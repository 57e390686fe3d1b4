package config

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// OwnersAt is where an environment names its file of owners.
func OwnersAt(name string) schema.Path {
	return schema.Path("/environments").Child(name).Child("gates").Child("owners")
}

// ownersFile is a file of owners as its schema lays it out.
type ownersFile struct {
	Rules []struct {
		Match struct {
			Kinds  []string          `json:"kinds"`
			Paths  []string          `json:"paths"`
			Labels map[string]string `json:"labels"`
			Fields []string          `json:"fields"`
		} `json:"match"`
		Owners  []string `json:"owners"`
		Reviews int      `json:"reviews"`
	} `json:"rules"`
}

// loadOwners reads the owners of every environment that names a file of them.
// near is the configuration as it was named.
func (c *Config) loadOwners(ctx context.Context, check Checker, near string) ([]schema.Diagnostic, error) {
	var findings []schema.Diagnostic
	for i := range c.Environments {
		e := &c.Environments[i]
		if e.Gates.OwnersFile == "" {
			continue
		}
		k := &checking{Config: c}
		if k.ownersInReach(*e); len(k.findings) > 0 {
			findings = append(findings, k.findings...)
			continue
		}
		data, err := read(e.Gates.OwnersFile)
		if err != nil {
			k.find(OwnersAt(e.Name), "", "%s: %s", OwnersAt(e.Name), err)
			findings = append(findings, k.findings...)
			continue
		}
		name := e.Gates.OwnersFile
		if rel, err := filepath.Rel(filepath.Dir(c.Path), name); err == nil && filepath.IsLocal(rel) {
			name = filepath.Join(filepath.Dir(near), rel)
		}
		checked, found, err := check.Owners(ctx, name, data)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			found, err = c.takeOwners(e, name, checked)
		}
		if err != nil {
			return nil, fmt.Errorf("read the owners: %w", err)
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// takeOwners makes rules of a file that fits its schema, and puts them into the
// environment.
func (c *Config) takeOwners(e *Environment, name string, checked compile.Config) ([]schema.Diagnostic, error) {
	var file ownersFile
	if err := json.Unmarshal(checked.JSON, &file); err != nil {
		return nil, err
	}
	o := &owning{checking: checking{Config: &Config{Path: name, values: checked.Values, keys: checked.Keys}}, e: e, tokens: c.API.Tokens}
	var rules []gate.OwnerRule
	for i, r := range file.Rules {
		at := schema.Path("/rules").Index(i)
		match := at.Child("match")
		rule := gate.OwnerRule{Labels: map[string]schema.Glob{}, Owners: r.Owners, Reviews: r.Reviews}
		rule.Kinds = o.globs(match.Child("kinds"), "kinds", r.Match.Kinds)
		rule.Paths = o.globs(match.Child("paths"), "paths", r.Match.Paths)
		for k, text := range r.Match.Labels {
			here := match.Child("labels").Child(k)
			g, err := schema.ParseGlob(text)
			if err != nil {
				o.find(here, "", "%s: %q is no pattern: %s", here, text, err)
			}
			rule.Labels[k] = g
		}
		for n, text := range r.Match.Fields {
			f, err := gate.ParseField(text)
			if err != nil {
				here := match.Child("fields").Index(n)
				o.find(here, "such as /job/TaskGroups/*/Count", "%s: %q is no pattern of fields: %s", here, text, err)
			}
			rule.Fields = append(rule.Fields, f)
		}
		o.empty(match, r.Match.Kinds, r.Match.Paths, r.Match.Fields)
		o.people(at, r.Owners, r.Reviews)
		rules = append(rules, rule)
	}
	if len(o.findings) > 0 {
		return o.findings, nil
	}
	e.Gates.Owners = gate.NewOwners(rules)
	return nil, c.remember(e, checked.JSON)
}

// owning finds what a schema cannot say of a file of owners.
type owning struct {
	checking
	e      *Environment
	tokens []Token
}

// globs are the patterns of a list; nil for none.
func (o *owning) globs(at schema.Path, field string, texts []string) []schema.Glob {
	var all []schema.Glob
	for n, text := range texts {
		o.pattern(*o.e, at.Index(n), field, text)
		g, err := schema.ParseGlob(text)
		if err == nil {
			all = append(all, g)
		}
	}
	return all
}

// empty finds lists that are written and hold nothing: they would be for
// anything, which nobody means by them.
func (o *owning) empty(match schema.Path, kinds, paths, fields []string) {
	for name, list := range map[string][]string{"kinds": kinds, "paths": paths, "fields": fields} {
		if list != nil && len(list) == 0 {
			o.find(match.Child(name), "leave it out, to mean any", "%s: the list is empty", match.Child(name))
		}
	}
}

// people finds owners whose review nobody could give.
func (o *owning) people(at schema.Path, owners []string, reviews int) {
	persons := 0
	for n, owner := range owners {
		if strings.HasPrefix(owner, "@") {
			persons++
		}
		speaks := func(t Token) bool {
			return slices.ContainsFunc(t.speaks(), func(s string) bool { return strings.EqualFold(s, owner) })
		}
		here := at.Child("owners").Index(n)
		switch {
		case slices.ContainsFunc(o.tokens, speaks):
		case o.e.Forge == nil:
			o.find(here, "add forge, or api.tokens with its teams", "%s: nobody speaks for %s: there is no forge, and no token of it", here, owner)
		case o.e.Forge.Kind == PlainGit && !strings.HasPrefix(owner, "@"):
			o.find(here, "name people, as the list of signers does (@ana@example.org), or add api.tokens with its teams", "%s: nobody speaks for %s: a Git server without a forge has no teams, and there is no token of it", here, owner)
		}
	}
	if here := at.Child("owners"); len(owners) > 0 && persons == len(owners) && persons < reviews {
		o.find(here, "", "%s: %d reviews, and only %d may give one", here, reviews, persons)
	}
}

// speaks are the owners that a token speaks for.
func (t Token) speaks() []string { return append([]string{"@" + t.Name}, t.Teams...) }

// ownersInReach finds a file that somebody could change who can only write to a
// repository: it would be theirs to say whose review they need.
func (c *checking) ownersInReach(e Environment) {
	file := real(e.Gates.OwnersFile)
	in := func(folder, what string) {
		if folder == "" || !filepath.IsAbs(folder) {
			return
		}
		if rel, err := filepath.Rel(real(folder), file); err == nil && filepath.IsLocal(rel) {
			c.find(OwnersAt(e.Name), "put it beside the configuration", "%s: it lies in %s, where what is declared could change it", OwnersAt(e.Name), what)
		}
	}
	for name, s := range e.followed() {
		in(s.Git, name+".git")
		in(s.Dir, name+".dir")
	}
	in(c.Data, "the data folder")
	for _, t := range e.Targets {
		in(t.Root, "the root of target "+t.Name)
	}
}

// real is a path without symbolic links, as far as it exists.
func real(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return path
}

// remember puts the rules beside the file's name, in what is compared and kept:
// a file that says something else is another section.
func (c *Config) remember(e *Environment, rules json.RawMessage) error {
	put := func(raw json.RawMessage, steps ...string) (json.RawMessage, error) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var whole map[string]any
		if err := d.Decode(&whole); err != nil {
			return nil, err
		}
		at := whole
		for _, s := range steps {
			at, _ = at[s].(map[string]any)
		}
		if at == nil {
			return nil, fmt.Errorf("%s: there is no section", strings.Join(steps, "."))
		}
		var all map[string]any
		if err := json.Unmarshal(rules, &all); err != nil {
			return nil, err
		}
		all["file"] = at["owners"]
		at["owners"] = all
		return json.Marshal(whole)
	}
	var err error
	if e.JSON, err = put(e.JSON, "gates"); err != nil {
		return err
	}
	c.JSON, err = put(c.JSON, "environments", e.Name, "gates")
	return err
}
