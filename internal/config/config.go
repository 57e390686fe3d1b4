// Package config is the daemon's configuration as Go values: read from its
// file, checked by its schema (schema/config, in the compiler's worker), then
// for what a schema cannot say. Every finding stands at its place in the file.
//
// Read in this order: config.go (the values), load.go (from file to values),
// check.go, target.go and promotion.go (what a schema cannot say), owners.go (the
// file of gates.owners, which is read with it), diff.go (what changed). It must
// not know any driver or source, nor what is done with a configuration; it reads
// no file but the configuration itself and those of owners.
package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/schema"
)

// Config is a configuration that was found good. All paths are absolute.
// Immutable, safe for concurrent use.
type Config struct {
	Path         string // of the file
	Data         string
	API          API
	Environments []Environment // by name

	JSON json.RawMessage // as checked, with defaults, for Diff; it holds no secret

	values, keys map[schema.Path]schema.Pos
}

// API is how others than this machine's user reach the daemon.
type API struct {
	Listen string   `json:"listen"` // "": not at all
	TLS    *KeyPair `json:"tls"`
	Tokens []Token  `json:"tokens"`
}

// KeyPair names the files of a certificate and its key.
type KeyPair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Token is somebody who may ask, and the file of what proves it.
type Token struct {
	Name      string `json:"name"`
	Role      string `json:"role"` // "viewer", "proposer", "approver" or "operator"
	TokenFile string `json:"tokenFile"`

	Teams []string `json:"teams"` // that it speaks for where it approves
}

// Environment is one environment's section.
type Environment struct {
	Name   string `json:"-"`
	ID     string `json:"id"`
	Source Source `json:"source"`

	Templates *Source                    `json:"templates"` // nil: those that are shipped
	Policies  *Source                    `json:"policies"`  // nil: none
	Values    map[string]json.RawMessage `json:"values"`    // for templates and policies
	Paths     []PathRule                 `json:"paths"`     // nil: anything may be declared anywhere

	Targets []Target `json:"-"` // by name
	Gates   Gates    `json:"gates"`
	Drift   string   `json:"drift"` // "repair" or "report"
	Resync  Duration `json:"resync"`
	Status  Status   `json:"status"`
	Forge   *Forge   `json:"forge"` // nil: none

	Notify     map[string]Receiver `json:"notify"`     // by name
	Quarantine *Quarantine         `json:"quarantine"` // nil: nothing is gone back from
	After      *After              `json:"after"`      // nil: it follows no other environment

	JSON json.RawMessage `json:"-"` // the section as checked, for Diff
}

// Same says whether two sections mean the same: then nothing has to be started
// again.
func (e Environment) Same(o Environment) bool {
	e.JSON, o.JSON = nil, nil
	return reflect.DeepEqual(e, o)
}

// Source is a repository that is followed, or a folder.
type Source struct {
	Git               string   `json:"git"` // a URL, or an absolute path; "": it is a folder
	Dir               string   `json:"dir"` // an absolute path; "": it is a repository
	Branch            string   `json:"branch"`
	Path              string   `json:"path"`
	Interval          Duration `json:"interval"`
	TokenFile         string   `json:"tokenFile"`
	Username          string   `json:"username"`
	CAFile            string   `json:"caFile"`
	KeyFile           string   `json:"keyFile"`
	KeyPassphraseFile string   `json:"keyPassphraseFile"`
	Agent             bool     `json:"agent"`
	KnownHostsFile    string   `json:"knownHostsFile"`
	Signers           []string `json:"signers"` // files with the keys that may sign; none: nothing has to be signed
}

// PathRule is what the declarations below a folder may be. Of its lists of
// patterns (schema.Glob) nil allows anything, an empty one nothing.
type PathRule struct {
	Path            string   `json:"path"` // "" is everything; no slash at either end
	Kinds           []string `json:"kinds"`
	Templates       []string `json:"templates"`
	Targets         []string `json:"targets"`
	Names           []string `json:"names"`
	NomadNamespaces []string `json:"nomadNamespaces"`
	VaultPaths      []string `json:"vaultPaths"`
}

// Target is one engine.
type Target struct {
	Name        string   `json:"-"`
	Engine      string   `json:"engine"`
	Address     string   `json:"address"` // canonical: scheme and host in lower case, no slash at the end
	TokenFile   string   `json:"tokenFile"`
	CAFile      string   `json:"caFile"`
	CertFile    string   `json:"certFile"`
	KeyFile     string   `json:"keyFile"`
	ServerName  string   `json:"serverName"`
	Login       Login    `json:"login"`
	Binary      string   `json:"binary"`
	CLIConfig   string   `json:"cliConfig"`
	Pass        []string `json:"pass"`
	Plan        *Plan    `json:"plan"` // nil: stacks of proposals are not planned
	Root        string   `json:"root"`
	Region      string   `json:"region"`
	Namespace   string   `json:"namespace"`
	Concurrency int      `json:"concurrency"`
	Resync      Duration `json:"resync"` // zero: what the environment says
}

// Login is how to get a token of Vault; at most one of its fields is set.
type Login struct {
	JWT     *JWTLogin     `json:"jwt"`
	AppRole *AppRoleLogin `json:"approle"`
}

// JWTLogin logs in with a signed token.
type JWTLogin struct {
	Role  string `json:"role"`
	Mount string `json:"mount"`
	File  string `json:"file"`
}

// AppRoleLogin logs in with a role and a secret id.
type AppRoleLogin struct {
	RoleID       string `json:"roleID"`
	Mount        string `json:"mount"`
	SecretIDFile string `json:"secretIDFile"`
}

// Gates are who must agree before something is changed.
type Gates struct {
	Budget    Budget   `json:"budget"`
	Reviews   int      `json:"reviews"`   // different people who must have approved
	Reviewers []string `json:"reviewers"` // teams of the forge whose members count; nil: everybody who may write
	Windows   []Window `json:"windows"`   // nil: always open
	Freezes   []Freeze `json:"freezes"`
	Signed    bool     `json:"signed"` // heads of proposals have to be signed, too

	OwnersFile string      `json:"owners"` // that Owners are of; "": there are none
	Owners     gate.Owners `json:"-"`
}

// Budget is what may be destroyed in an hour without a person.
type Budget struct {
	Deletes int     `json:"deletes"`
	Share   Percent `json:"share"`
}

// Status is what is written back.
type Status struct {
	Branch       string `json:"branch"`
	CommitStatus bool   `json:"commitStatus"` // where there is a forge
	Comment      bool   `json:"comment"`      // likewise
}

// Forge is where changes are proposed and reviewed.
type Forge struct {
	Kind       string   `json:"kind"` // "github", "gitlab", "gitea", or "git": none but a Git server
	URL        string   `json:"url"`  // "": the public one
	Repository string   `json:"repository"`
	TokenFile  string   `json:"tokenFile"`
	App        *App     `json:"app"`
	CAFile     string   `json:"caFile"`
	Webhook    string   `json:"webhookSecretFile"` // "": calls are refused
	Prefix     string   `json:"prefix"`            // of branches that are proposals, with its slash: git
	Signers    []string `json:"signers"`           // files with the keys that approve: git
	Drafts     bool     `json:"drafts"`
	Forks      bool     `json:"forks"`
	Interval   Duration `json:"interval"`
}

// App is a GitHub App.
type App struct {
	ID           string `json:"id"`
	Installation int64  `json:"installation"`
	KeyFile      string `json:"keyFile"`
}

// Duration is a span of time that is written with one unit, such as 30s or 2d.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := driverkit.Duration(string(text))
	*d = Duration(v)
	return err
}

// Percent is a share that is written as 20%.
type Percent int

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Percent) UnmarshalText(text []byte) error {
	digits, ok := strings.CutSuffix(string(text), "%")
	n, err := strconv.Atoi(digits)
	if err != nil || !ok || n < 0 || n > 100 {
		return fmt.Errorf("%q is not a share such as 20%%", text)
	}
	*p = Percent(n)
	return nil
}

// At is where the value at a path stands in the file, or the nearest one above
// it that does.
func (c *Config) At(path schema.Path) schema.Pos {
	for {
		if p, ok := c.values[path]; ok {
			return p
		}
		i := strings.LastIndexByte(string(path), '/')
		if i < 0 {
			return schema.Pos{File: c.Path, Line: 1, Col: 1}
		}
		path = path[:i]
	}
}

// KeyAt is where a key stands.
func (c *Config) KeyAt(path schema.Path) schema.Pos {
	if p, ok := c.keys[path]; ok {
		return p
	}
	return c.At(path)
}
