package config

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// MaxBytes bounds a configuration file.
const MaxBytes = 1 << 20

// Checker checks a document against the schema of the configuration; it is a
// *compile.Compiler.
type Checker interface {
	Config(ctx context.Context, name string, data []byte) (compile.Config, []schema.Diagnostic, error)
	Owners(ctx context.Context, name string, data []byte) (compile.Config, []schema.Diagnostic, error)
}

// Load reads a configuration. It answers either the configuration or all
// findings; an error means that it could not be read or checked. source judges
// what only a source can of each repository that is followed; nil: nobody does.
func Load(ctx context.Context, check Checker, source func(Source) error, path string) (*Config, []schema.Diagnostic, error) {
	data, err := read(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	checked, findings, err := check.Config(ctx, path, data)
	if err != nil || len(findings) > 0 {
		return nil, findings, err
	}
	c, findings, err := decode(abs, checked)
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	findings = append(findings, c.check()...)
	owners, err := c.loadOwners(ctx, check, path)
	if err != nil {
		return nil, nil, err
	}
	findings = append(findings, owners...)
	for i := range c.Environments {
		if source == nil {
			break
		}
		for name, s := range c.Environments[i].followed() {
			if s.Git == "" {
				continue
			}
			if err := source(*s); err != nil {
				at := schema.Path("/environments").Child(c.Environments[i].Name).Child(name)
				findings = append(findings, schema.Diagnostic{Pos: c.At(at), Path: at, Message: fmt.Sprintf("%s: %s", at, err), Hint: hintOf(err)})
			}
		}
	}
	if len(findings) > 0 {
		return nil, schema.SortDiagnostics(findings), nil
	}
	return c, nil, nil
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err == nil && len(data) > MaxBytes {
		err = errors.New(path + " is larger than 1 MiB")
	}
	return data, err
}

// file is a configuration as its schema lays it out.
type file struct {
	Data         string                     `json:"data"`
	API          API                        `json:"api"`
	Environments map[string]json.RawMessage `json:"environments"`
}

// decode answers findings about what fits the schema and no value of Go, such
// as a span of a million years.
func decode(path string, checked compile.Config) (*Config, []schema.Diagnostic, error) {
	var f file
	if err := json.Unmarshal(checked.JSON, &f); err != nil {
		return nil, nil, err
	}
	var findings []schema.Diagnostic
	base := filepath.Dir(path)
	c := &Config{Path: path, Data: below(base, f.Data), API: f.API, JSON: checked.JSON, values: checked.Values, keys: checked.Keys}
	if t := c.API.TLS; t != nil {
		t.Cert, t.Key = below(base, t.Cert), below(base, t.Key)
	}
	for i := range c.API.Tokens {
		c.API.Tokens[i].TokenFile = below(base, c.API.Tokens[i].TokenFile)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Environments)) {
		e, err := decodeEnvironment(base, name, f.Environments[name])
		if err != nil {
			at := schema.Path("/environments").Child(name)
			findings = append(findings, schema.Diagnostic{Pos: c.KeyAt(at), Path: at, Message: fmt.Sprintf("%s: %s", at, err)})
			continue
		}
		c.Environments = append(c.Environments, e)
	}
	c.upstreams()
	return c, findings, nil
}

func decodeEnvironment(base, name string, raw json.RawMessage) (Environment, error) {
	e := Environment{Name: name, JSON: raw}
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, err
	}
	var more struct {
		Targets map[string]Target `json:"targets"`
	}
	if err := json.Unmarshal(raw, &more); err != nil {
		return e, err
	}
	for _, f := range e.followed() {
		f.absolute(base)
	}
	if f := e.Forge; f != nil {
		f.TokenFile, f.CAFile, f.Webhook = below(base, f.TokenFile), below(base, f.CAFile), below(base, f.Webhook)
		if f.App != nil {
			f.App.KeyFile = below(base, f.App.KeyFile)
		}
		for i, file := range f.Signers {
			f.Signers[i] = below(base, file)
		}
		if f.Kind == PlainGit {
			f.Prefix = cmp.Or(f.Prefix, DefaultPrefix)
		}
	}
	e.Gates.OwnersFile = below(base, e.Gates.OwnersFile)
	for name, r := range e.Notify {
		r.URLFile, r.SecretFile, r.CAFile = below(base, r.URLFile), below(base, r.SecretFile), below(base, r.CAFile)
		e.Notify[name] = r
	}
	for i := range e.Paths {
		e.Paths[i].Path = strings.Trim(e.Paths[i].Path, "/")
	}
	for _, name := range slices.Sorted(maps.Keys(more.Targets)) {
		t := more.Targets[name]
		t.Name, t.Address = name, canonical(t.Address)
		t.absolute(base)
		e.Targets = append(e.Targets, t)
	}
	return e, nil
}

// followed is what an environment follows, by the name of its field.
func (e *Environment) followed() map[string]*Source {
	all := map[string]*Source{"source": &e.Source}
	if e.Templates != nil {
		all["templates"] = e.Templates
	}
	if e.Policies != nil {
		all["policies"] = e.Policies
	}
	return all
}

func (s *Source) absolute(base string) {
	if !remote.MatchString(s.Git) {
		s.Git = below(base, s.Git)
	}
	for _, p := range []*string{&s.Dir, &s.TokenFile, &s.CAFile, &s.KeyFile, &s.KeyPassphraseFile, &s.KnownHostsFile} {
		*p = below(base, *p)
	}
	for i, file := range s.Signers {
		s.Signers[i] = below(base, file)
	}
}

// remote is an address that is no path of this machine.
var remote = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|[^/]+:)`)

func (t *Target) absolute(base string) {
	paths := []*string{&t.TokenFile, &t.CAFile, &t.CertFile, &t.KeyFile, &t.Root, &t.CLIConfig}
	if j := t.Login.JWT; j != nil {
		paths = append(paths, &j.File)
	}
	if a := t.Login.AppRole; a != nil {
		paths = append(paths, &a.SecretIDFile)
	}
	if t.Plan != nil {
		t.Plan.absolute(base)
	}
	if strings.Contains(t.Binary, "/") {
		paths = append(paths, &t.Binary)
	}
	for _, p := range paths {
		*p = below(base, *p)
	}
}

// below is a path as seen from the folder of the configuration; "" stays so.
func below(base, path string) string {
	if path == "" {
		return ""
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}
