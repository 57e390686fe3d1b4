package config

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// Local is the engine that is built in.
const Local = "local"

// overHTTP are the fields of an engine that is reached over HTTP.
var overHTTP = []string{"address", "tokenFile", "caFile", "certFile", "keyFile", "serverName"}

// engines are the fields that each engine has a use for, beside those that all
// have.
var engines = map[string][]string{
	Local:    {"root"},
	"nomad":  append([]string{"region"}, overHTTP...),
	"vault":  append([]string{"login", "namespace"}, overHTTP...),
	"consul": overHTTP,
	"tofu":   {"binary", "cliConfig", "pass", "plan"},
}

// targets finds fields that the engine has no use for, and those that it lacks.
func (c *checking) targets(e Environment, at schema.Path) {
	local := ""
	for _, t := range e.Targets {
		here := at.Child(t.Name)
		if !schema.ValidName(t.Name) {
			c.report(c.KeyAt(here), here, "lower-case letters, digits and inner hyphens, at most 63", "%q is not a name of a target", t.Name)
		}
		if t.Engine == Local && local != "" {
			c.find(here, "one is enough: it serves every local kind", "targets %s and %s are both local: an environment has one machine", local, t.Name)
		}
		if t.Engine == Local {
			local = t.Name
		}
		c.fields(t, here)
		if slices.Contains(engines[t.Engine], "address") {
			c.address(t, here)
		}
		c.plan(t, here)
	}
	if len(e.Targets) == 0 {
		c.find(at, "such as local: {engine: local}", "environment %s has no target", e.Name)
	}
}

func (c *checking) fields(t Target, at schema.Path) {
	for _, name := range []string{"address", "tokenFile", "caFile", "certFile", "keyFile", "serverName", "login", "binary", "cliConfig", "pass", "plan", "root", "region", "namespace"} {
		path := at.Child(name)
		if _, written := c.values[path]; written && !slices.Contains(engines[t.Engine], name) {
			c.report(c.KeyAt(path), path, t.Engine+" takes "+strings.Join(engines[t.Engine], ", "), "%s: engine %s has no use for it", path, t.Engine)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") && t.Engine != Local {
		c.find(at, "", "%s: certFile and keyFile belong together", at)
	}
	if t.Engine == "vault" && t.TokenFile == "" && t.Login == (Login{}) {
		c.find(at, "tokenFile, or login", "%s: Vault answers nobody without a token", at)
	}
}

// address finds an address that could not be reached, or that holds more than
// where the engine is.
func (c *checking) address(t Target, at schema.Path) {
	path := at.Child("address")
	u, err := url.Parse(t.Address)
	switch {
	case t.Address == "":
		c.find(at, "", "missing field %s", path)
	case err != nil || u.Host == "":
		c.find(path, "such as https://nomad.example.org:4646", "%s is not a URL", path)
	case u.User != nil:
		c.find(path, "put the token into a file and name that as tokenFile", "%s holds a user or a password", path)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		c.find(path, "scheme, host and port alone", "%s: a path, a query or a fragment is nothing that the engine is reached by", path)
	case u.Scheme == "http" && (t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != ""):
		c.find(path, "use https", "%s: certificates make no sense over plain http", path)
	}
}

// canonical is one spelling of an engine's address: what digests bind to must
// not change with a slash.
func canonical(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	host, path, slash := strings.Cut(rest, "/")
	if slash && path != "" {
		host += "/" + path
	}
	if strings.Contains(host, "@") { // a finding anyway
		return strings.ToLower(scheme) + "://" + host
	}
	return strings.ToLower(scheme) + "://" + strings.ToLower(host)
}

// asks says whether a section asks for what stands at steps: anything but
// nothing, no, none or zero.
func asks(section json.RawMessage, steps []string) bool {
	var v any
	if err := json.Unmarshal(section, &v); err != nil {
		return true
	}
	for _, s := range steps {
		m, _ := v.(map[string]any)
		v = m[s]
	}
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	}
	return true
}
