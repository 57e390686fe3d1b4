package config

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/aplomb-dev/aplomb/schema"
)

// forge finds what does not go with a forge, or with there being none.
func (c *checking) forge(e Environment, at schema.Path) {
	f := e.Forge
	if f == nil {
		for _, of := range []string{"commitStatus", "comment"} {
			path := at.Child("status").Child(of)
			if _, written := c.values[path]; written && asks(e.JSON, []string{"status", of}) {
				c.find(path, "add forge", "%s: there is no forge to say it on", path)
			}
		}
		if len(e.Gates.Reviewers) > 0 {
			c.find(at.Child("gates").Child("reviewers"), "add forge", "%s: there is no forge that has teams", at.Child("gates").Child("reviewers"))
		}
		return
	}
	if e.Source.Branch == "" {
		c.find(at.Child("source"), "branch: main", "%s is missing: proposals are those that want to be merged into it", at.Child("source").Child("branch"))
	}
	if e.Gates.Reviews > 0 && !e.Status.Comment {
		path := at.Child("status").Child("comment")
		c.find(path, "let it be true", "%s: reviews approve what the comment shows, and there is none", path)
	}
	at = at.Child("forge")
	if f.Kind == PlainGit {
		c.plainGit(e, at)
		return
	}
	c.useless(at, f.Kind, "prefix", "signers")
	if f.Repository == "" {
		c.find(at, "OWNER/NAME", "%s is missing", at.Child("repository"))
	}
	if f.TokenFile == "" && f.App == nil {
		c.find(at, "an account of its own has a token", "%s is missing", at.Child("tokenFile"))
	}
	if f.App != nil && f.Kind != "github" {
		c.find(at.Child("app"), "give tokenFile", "%s: %s has no apps", at.Child("app"), f.Kind)
	}
	if f.URL == "" {
		if f.Kind == "gitea" {
			c.find(at, "such as https://git.example.org", "%s is missing: gitea has no public server", at.Child("url"))
		}
		return
	}
	u, err := url.Parse(f.URL)
	switch {
	case err != nil || u.Host == "":
		c.find(at.Child("url"), "such as https://git.example.org", "%s is no URL of a server", at.Child("url"))
	case u.User != nil:
		c.find(at.Child("url"), "give tokenFile", "%s: credentials do not belong there", at.Child("url"))
	case u.Scheme == "http" && !Loopback(hostPort(u)):
		c.find(at.Child("url"), "https://", "%s: the token would pass over the network in plain text", at.Child("url"))
	}
}

// PlainGit is the kind of forge that is none: a Git server.
const PlainGit = "git"

// DefaultPrefix is what proposals' branches begin with on a Git server without a
// forge.
const DefaultPrefix = "proposals/"

// ownBranches is what the branches begin with that aplomb proposes; they are
// proposals by their names.
const ownBranches = "aplomb/"

// useless finds fields that this kind of forge has no use for.
func (c *checking) useless(at schema.Path, kind string, fields ...string) {
	for _, field := range fields {
		if path := at.Child(field); c.written(path) {
			c.report(c.KeyAt(path), path, "leave it out", "%s: %s has no use for it", path, kind)
		}
	}
}

func (c *checking) written(path schema.Path) bool {
	_, is := c.values[path]
	return is
}

// plainGit finds what does not go with a Git server that is no forge.
func (c *checking) plainGit(e Environment, at schema.Path) {
	c.useless(at, "a Git server without a forge", "url", "repository", "tokenFile", "app", "caFile", "webhookSecretFile", "drafts", "forks")
	if path := at.Child("prefix"); !validPrefix(e.Forge.Prefix) {
		c.find(path, DefaultPrefix, "%s: %q is no beginning of names of branches", path, e.Forge.Prefix)
	}
	for _, kept := range []struct{ what, name string }{{"followed", e.Source.Branch}, {"for reports", e.Status.Branch}} {
		for _, prefix := range []string{e.Forge.Prefix, ownBranches} {
			if strings.HasPrefix(kept.name, prefix) {
				c.find(at.Child("prefix"), "name it otherwise", "%s: branch %s, which is %s, would be a proposal", at.Child("prefix"), kept.name, kept.what)
			}
		}
	}
	if len(e.Forge.Signers) == 0 {
		c.find(at, "such as [allowed_signers]", "%s is missing: nobody could approve", at.Child("signers"))
	}
	if at := schema.Path("/environments").Child(e.Name).Child("gates").Child("reviewers"); len(e.Gates.Reviewers) > 0 {
		c.find(at, "who may approve is in forge.signers", "%s: a Git server without a forge has no teams", at)
	}
}

// validPrefix says whether names of branches can begin so.
func validPrefix(prefix string) bool {
	name, ok := strings.CutSuffix(prefix, "/")
	if !ok || strings.ContainsAny(name, " ~^:?*[\\") || strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasPrefix(name, "-") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") || strings.ContainsFunc(part, unicode.IsControl) {
			return false
		}
	}
	return true
}

// hostPort is the host of a URL as something to connect to.
func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Hostname() + ":80"
	}
	return u.Host
}
