package config

import (
	"net/url"

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
	at = at.Child("forge")
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

// hostPort is the host of a URL as something to connect to.
func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Hostname() + ":80"
	}
	return u.Host
}
