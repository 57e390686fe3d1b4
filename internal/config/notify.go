package config

import (
	"maps"
	"net/url"
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
)

// Receiver is somebody who is told what became of an environment.
type Receiver struct {
	Kind       string   `json:"kind"`    // "webhook" or "slack"
	URL        string   `json:"url"`     // "": it is in URLFile
	URLFile    string   `json:"urlFile"` // likewise
	SecretFile string   `json:"secretFile"`
	CAFile     string   `json:"caFile"`
	On         []string `json:"on"` // nil: everything
	Gather     Duration `json:"gather"`
}

// notify finds what does not go with a receiver.
func (c *checking) notify(e Environment, at schema.Path) {
	for _, name := range slices.Sorted(maps.Keys(e.Notify)) {
		r, at := e.Notify[name], at.Child(name)
		if !schema.ValidName(name) {
			c.report(c.KeyAt(at), at, "lower-case letters, digits and inner hyphens, at most 63", "%q is not a name of a receiver", name)
		}
		if r.Kind == "slack" && r.URL != "" {
			c.find(at.Child("url"), "give urlFile", "%s: of Slack the URL is a token", at.Child("url"))
		}
		if r.Kind == "slack" && r.SecretFile != "" {
			c.find(at.Child("secretFile"), "leave it out", "%s: Slack knows no signatures", at.Child("secretFile"))
		}
		if r.On != nil && len(r.On) == 0 {
			c.find(at.Child("on"), "leave it out to be told everything", "%s is empty: nothing would ever be told", at.Child("on"))
		}
		if r.URL == "" {
			continue
		}
		u, err := url.Parse(r.URL)
		switch at := at.Child("url"); {
		case err != nil || u.Host == "":
			c.find(at, "such as https://hooks.example.org/aplomb", "%s is no URL", at)
		case u.User != nil:
			c.find(at, "give urlFile", "%s: credentials do not belong there", at)
		case u.Scheme == "http" && !Loopback(hostPort(u)):
			c.find(at, "https://", "%s: what is told would pass over the network in plain text", at)
		}
	}
}
