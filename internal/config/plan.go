package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema"
)

// Plan is how stacks of proposals are planned.
type Plan struct {
	User      string            `json:"user"` // "": the daemon's own
	Providers []string          `json:"providers"`
	Modules   []string          `json:"modules"`
	Network   []string          `json:"network"`
	Variables map[string]string `json:"variables"` // files, by the name of the variable
	Mirror    string            `json:"mirror"`    // "": what was installed for what is applied
	State     bool              `json:"state"`
}

func (p *Plan) absolute(base string) {
	p.Mirror = below(base, p.Mirror)
	for name, file := range p.Variables {
		p.Variables[name] = below(base, file)
	}
}

// setWithin are variables that the sandbox sets itself.
var setWithin = []string{"PATH", "HOME", "TMPDIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CHECKPOINT_DISABLE"}

// plan finds what cannot be kept to where a stack of a proposal is planned.
func (c *checking) plan(t Target, at schema.Path) {
	p := t.Plan
	if p == nil || t.Engine != "tofu" {
		return
	}
	at = at.Child("plan")
	if t.CLIConfig != "" && p.Mirror == "" {
		c.find(at, "a folder with unpacked providers", "%s is missing: with cliConfig none are kept in the data folder", at.Child("mirror"))
	}
	for i, host := range p.Network {
		if err := sandbox.CheckHost(host); err != nil {
			c.find(at.Child("network").Index(i), "such as api.example.org:443, or *.example.org:443", "%s: %s", at.Child("network").Index(i), err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Variables)) {
		here := at.Child("variables").Child(name)
		switch {
		case name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" || name[0] >= '0' && name[0] <= '9':
			c.report(c.KeyAt(here), here, "letters, digits and _", "%q is no name of a variable", name)
		case slices.Contains(setWithin, strings.ToUpper(name)), strings.HasPrefix(name, "LD_"), strings.HasPrefix(name, "TF_") && !strings.HasPrefix(name, "TF_TOKEN_"):
			c.report(c.KeyAt(here), here, "leave it out", "%s: it would make another run of this one", here)
		}
	}
	for i, source := range p.Modules {
		if strings.HasPrefix(source, ".") || strings.HasPrefix(source, "/") {
			c.find(at.Child("modules").Index(i), "such as https://modules.example.org/approved", "%s: folders are not fetched; those of a stack may be used anyway", at.Child("modules").Index(i))
		}
	}
}
