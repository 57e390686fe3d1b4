package config

import (
	"fmt"
	"net"
	"strconv"

	"github.com/aplomb-dev/aplomb/internal/outbound"
	"github.com/aplomb-dev/aplomb/schema"
)

// checking collects findings about one configuration.
type checking struct {
	*Config
	findings []schema.Diagnostic
}

// find reports a finding about the value at a path.
func (c *checking) find(path schema.Path, hint, format string, args ...any) {
	c.report(c.At(path), path, hint, format, args...)
}

func (c *checking) report(pos schema.Pos, path schema.Path, hint, format string, args ...any) {
	c.findings = append(c.findings, schema.Diagnostic{Pos: pos, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// check finds what the schema cannot say.
func (c *Config) check() []schema.Diagnostic {
	k := &checking{Config: c}
	k.api()
	ids := map[string]string{}
	for _, e := range c.Environments {
		at := schema.Path("/environments").Child(e.Name)
		if !schema.ValidName(e.Name) {
			k.report(k.KeyAt(at), at, "lower-case letters, digits and inner hyphens, at most 63", "%q is not a name of an environment", e.Name)
		}
		if other := ids[e.ID]; other != "" {
			k.find(at.Child("id"), "openssl rand -hex 16 makes one", "environments %s and %s have one id", other, e.Name)
		}
		ids[e.ID] = e.Name
		k.gates(e, at)
		k.followed(e, at)
		k.forge(e, at)
		k.notify(e, at.Child("notify"))
		k.quarantine(e, at.Child("quarantine"))
		k.after(e, at.Child("after"))
		k.valueNames(e, at.Child("values"))
		k.paths(e, at.Child("paths"))
		k.targets(e, at.Child("targets"))
	}
	if len(c.Environments) == 0 {
		k.find("/environments", "", "there is no environment")
	}
	return k.findings
}

// Loopback says whether only this machine can connect to an address to listen
// on.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && outbound.Loopback(host)
}

// api finds a daemon that others could reach without showing who they are.
func (c *checking) api() {
	a := c.API
	if a.Listen == "" {
		if a.TLS != nil || len(a.Tokens) > 0 {
			c.find("/api", "api.listen says where", "a certificate or tokens, and nothing to listen on")
		}
		return
	}
	host, port, err := net.SplitHostPort(a.Listen)
	n, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || perr != nil:
		c.find("/api/listen", "such as 127.0.0.1:7717", "api.listen: %q is not host:port", a.Listen)
		return
	case n == 0:
		c.find("/api/listen", "", "api.listen: port 0 would be another one at every start")
	case host != "" && host != "localhost" && net.ParseIP(host) == nil:
		c.find("/api/listen", "an address of this machine, localhost, or nothing for every address", "api.listen: %q is not an address", host)
		return
	}
	if !Loopback(a.Listen) {
		if a.TLS == nil {
			c.find("/api/listen", "add api.tls, or listen on 127.0.0.1", "api.listen: tokens would pass over the network in plain text")
		}
		if len(a.Tokens) == 0 {
			c.find("/api/listen", "add api.tokens, or listen on 127.0.0.1", "api.listen: others can connect, and no token says who may ask")
		}
	}
	seen := map[string]bool{}
	for i, t := range a.Tokens {
		if at := schema.Path("/api/tokens").Index(i).Child("name"); seen[t.Name] {
			c.find(at, "", "%s: %s stands twice", at, t.Name)
		}
		seen[t.Name] = true
	}
}
