package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

const whole = `data: data
api:
  listen: 0.0.0.0:7717
  tls: {cert: tls/cert.pem, key: /etc/tls/key.pem}
  tokens:
    - {name: ana, role: approver, tokenFile: tokens/ana}
environments:
  prod:
    id: 7f3a7f3a7f3a7f3a7f3a7f3a7f3a7f3a
    source: {git: https://git.example.org/fleet.git, branch: main, path: environments/prod, tokenFile: tokens/git, interval: 1m}
    targets:
      eu: {engine: nomad, address: https://Nomad.EU:4646/, tokenFile: tokens/nomad, concurrency: 4, region: eu}
      vault: {engine: vault, address: http://127.0.0.1:8200, login: {jwt: {role: aplomb, file: jwt}}}
      tofu: {engine: tofu, binary: bin/tofu, resync: 2d}
      local: {engine: local, root: /srv}
    gates: {budget: {deletes: 0, share: 5%}, reviews: 0, signed: false}
    drift: report
  stage:
    id: 8f3a7f3a7f3a7f3a7f3a7f3a7f3a7f3a
    source: {git: ../fleet}
    targets: {local: {engine: local}}
    templates: {dir: templates}
    policies: {git: ./rules, branch: main, signers: [keys/security, /etc/signers]}
    values: {platform: local, limits: {cpu: 2}}
    paths: [{path: teams/shop/, kinds: ["local.*"], templates: []}]
    notify: {ops: {urlFile: hooks/ops, secretFile: /hooks/secret, on: [held]}, all: {url: "https://hooks.example.org/x"}}
`

func load(t *testing.T, text string) (*Config, []schema.Diagnostic) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "aplomb.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, findings, err := Load(t.Context(), compile.New(compile.Options{}), nil, path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range findings {
		findings[i].Pos.File = filepath.Base(findings[i].Pos.File)
	}
	return c, findings
}

// What is written means what it says: paths are as seen from the file, an
// address has one spelling.
func TestLoad(t *testing.T) {
	c, findings := load(t, whole)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	base := filepath.Dir(c.Path)
	prod, stage := c.Environments[0], c.Environments[1]
	for name, got := range map[string][2]any{
		"data":                 {c.Data, filepath.Join(base, "data")},
		"cert":                 {*c.API.TLS, KeyPair{filepath.Join(base, "tls/cert.pem"), "/etc/tls/key.pem"}},
		"token":                {fmt.Sprint(c.API.Tokens[0]), fmt.Sprint(Token{"ana", "approver", filepath.Join(base, "tokens/ana"), nil})},
		"git":                  {stage.Source.Git, filepath.Join(filepath.Dir(base), "fleet")},
		"url":                  {prod.Source.Git, "https://git.example.org/fleet.git"},
		"interval":             {prod.Source.Interval, Duration(time.Minute)},
		"address":              {prod.Targets[0].Address, "https://nomad.eu:4646"},
		"target":               {prod.Targets[1].Name, "local"},
		"binary":               {prod.Targets[2].Binary, filepath.Join(base, "bin/tofu")},
		"resync":               {prod.Targets[2].Resync, Duration(48 * time.Hour)},
		"login":                {*prod.Targets[3].Login.JWT, JWTLogin{"aplomb", "jwt", filepath.Join(base, "jwt")}},
		"notify":               {stage.Notify["ops"].URLFile + " " + stage.Notify["ops"].SecretFile, filepath.Join(base, "hooks/ops") + " /hooks/secret"},
		"notified of":          {len(stage.Notify["ops"].On), 1},
		"notified of all":      {stage.Notify["all"].On == nil && stage.Notify["all"].Kind == "webhook", true},
		"budget":               {prod.Gates.Budget, Budget{0, 5}},
		"defaults":             {stage.Gates.Budget, Budget{5, 20}},
		"drift":                {prod.Drift + stage.Drift, "reportrepair"},
		"branch":               {stage.Status.Branch, "aplomb-status"},
		"templates":            {stage.Templates.Dir, filepath.Join(base, "templates")},
		"policies":             {stage.Policies.Git + stage.Policies.Branch, filepath.Join(base, "rules") + "main"},
		"signers":              {strings.Join(stage.Policies.Signers, " "), filepath.Join(base, "keys/security") + " /etc/signers"},
		"interval of policies": {stage.Policies.Interval, Duration(30 * time.Second)},
		"values":               {string(stage.Values["limits"]), `{"cpu":2}`},
		"folder":               {stage.Paths[0].Path, "teams/shop"},
		"no list":              {stage.Paths[0].Names == nil, true},
		"an empty":             {stage.Paths[0].Templates != nil && len(stage.Paths[0].Templates) == 0, true},
		"same":                 {prod.Same(prod), true},
		"not same":             {prod.Same(stage), false},
		"where":                {c.At("/environments/prod/targets/eu/address").Line, 12},
		"where not":            {c.At("/environments/prod/targets/eu/namespace").Line, 12},
	} {
		if got[0] != got[1] {
			t.Errorf("%s is %v, want %v", name, got[0], got[1])
		}
	}
}

// TestFindings: each mistake is told at its place, and what is not done yet is
// never passed over in silence.
func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name, old, new string
		want           []string
	}{
		{"no tls", "  tls: {cert: tls/cert.pem, key: /etc/tls/key.pem}\n", "", []string{"3:11: api.listen: tokens would pass over the network"}},
		{"no tokens", "  tokens:\n    - {name: ana, role: approver, tokenFile: tokens/ana}\n", "", []string{"3:11: api.listen: others can connect"}},
		{"nowhere to listen", "  listen: 0.0.0.0:7717\n", "", []string{"3:3: a certificate or tokens, and nothing to listen on"}},
		{"a host", "0.0.0.0:7717", "example.org:7717", []string{`3:11: api.listen: "example.org" is not an address`}},
		{"a port", ":7717", ":77177", []string{`3:11: api.listen: "0.0.0.0:77177" is not host:port`}},
		{"port 0", ":7717", ":0", []string{"3:11: api.listen: port 0"}},
		{"twice", "tokenFile: tokens/ana}", "tokenFile: a}\n    - {name: ana, role: viewer, tokenFile: b}", []string{"7:14: api.tokens[1].name: ana stands twice"}},
		{"one id", "id: 8f", "id: 7f", []string{"19:9: environments prod and stage have one id"}},
		{"env name", "  stage:", "  Stage:", []string{`18:3: "Stage" is not a name of an environment`}},
		{"target name", "      eu:", "      EU:", []string{`12:7: "EU" is not a name of a target`}},
		{"two machines", "{local: {engine: local}}", "{a: {engine: local}, b: {engine: local}}", []string{"21:38: targets a and b are both local"}},
		{"no target", "targets: {local: {engine: local}}", "targets: {}", []string{"21:14: environment stage has no target"}},
		{"no use", "region: eu}", "region: eu, binary: x}", []string{"12:113: environments.prod.targets.eu.binary: engine nomad has no use for it"}},
		{"no address", "address: https://Nomad.EU:4646/, ", "", []string{"12:11: missing field environments.prod.targets.eu.address"}},
		{"a path", ":4646/", ":4646/v1", []string{"12:36: environments.prod.targets.eu.address: a path"}},
		{"a password", "//Nomad", "//a:b@Nomad", []string{"12:36: environments.prod.targets.eu.address holds a user"}},
		{"half a pair", "region: eu}", "certFile: x}", []string{"12:11: environments.prod.targets.eu: certFile and keyFile belong together"}},
		{"plain http", "login: {jwt", "caFile: x, login: {jwt", []string{"13:39: environments.prod.targets.vault.address: certificates make no sense"}},
		{"no login", ", login: {jwt: {role: aplomb, file: jwt}}", "", []string{"13:14: environments.prod.targets.vault: Vault answers nobody"}},
		{"too long", "2d", "999999999d", []string{"8:3: environments.prod: "}},
		{"no forge", "drift: report", "status: {commitStatus: true, comment: true}", []string{
			"17:28: environments.prod.status.commitStatus: there is no forge", "17:43: environments.prod.status.comment: there is no forge"}},
		{"reviews of nothing", "reviews: 0, signed: false}\n    drift: report", "reviews: 1}\n    status: {comment: false}\n    forge: {kind: github, repository: a/b, tokenFile: t}", []string{
			"17:23: environments.prod.status.comment: reviews approve what the comment shows"}},
		{"a forge without a branch", "targets: {local: {engine: local}}", "forge: {kind: github, repository: a/b, tokenFile: t}\n    targets: {local: {engine: local}}", []string{"20:13: environments.stage.source.branch is missing"}},
		{"a forge in plain text", "drift: report", "forge: {kind: gitea, url: 'http://git.example.org', repository: a/b, app: {id: x, keyFile: k}}", []string{
			"17:31: environments.prod.forge.url: the token would pass over the network", "17:79: environments.prod.forge.app: gitea has no apps"}},
		{"a password of a forge", "drift: report", "forge: {kind: gitlab, url: 'https://a:b@git.example.org', repository: a/b, tokenFile: t}", []string{
			"17:32: environments.prod.forge.url: credentials do not belong there"}},
		{"notifications in plain text", "drift: report", "notify: {a: {url: 'http://example.org/x'}, B: {url: 'https://a:b@example.org'}}", []string{
			"17:23: environments.prod.notify.a.url: what is told would pass", "17:48: \"B\" is not a name of a receiver", "17:57: environments.prod.notify.B.url: credentials do not belong"}},
		{"told of nothing", "drift: report", "notify: {a: {url: 'https://example.org/x', on: []}}", []string{"17:52: environments.prod.notify.a.on is empty"}},
		{"told of what is unknown", "drift: report", "notify: {a: {url: 'https://example.org/x', on: [helt]}}", []string{"17:53: environments.prod.notify.a.on[0]: \"helt\" is not one of"}},
		{"told nowhere", "drift: report", "notify: {a: {kind: slack}}", []string{"17:17: "}},
		{"a token of Slack", "drift: report", "notify: {a: {kind: slack, url: 'https://hooks.example.org/x', secretFile: s}}", []string{
			"17:36: environments.prod.notify.a.url: of Slack the URL is a token", "17:79: environments.prod.notify.a.secretFile: Slack knows no signatures"}},
		{"a gitea somewhere", "drift: report", "forge: {kind: gitea, repository: a/b, tokenFile: t}", []string{
			"17:12: environments.prod.forge.url is missing: gitea has no public server"}},
		{"nobody to propose to", "drift: report", "quarantine: {after: 0s, revert: true}", []string{
			"17:25: environments.prod.quarantine.after: a revision needs some time", "17:37: environments.prod.quarantine.revert: there is no forge"}},
		{"nothing to follow", "drift: report", "after: {environment: test, files: ['[a']}", []string{
			"17:12: environments.prod.after: there is no forge", `17:26: environments.prod.after.environment: there is no environment "test"`, `17:40: environments.prod.after.files[0]: `}},
		{"following itself", "drift: report", "after: {environment: prod}\n    forge: {kind: github, repository: a/b, tokenFile: t}", []string{"17:26: environments.prod.after.environment: prod follows itself"}},
		{"following elsewhere", "drift: report", "after: {environment: stage}\n    forge: {kind: github, repository: a/b, tokenFile: t}", []string{"17:26: environments.prod.after.environment: stage follows another repository"}},
		{"a forge without an account", "drift: report", "forge: {kind: github, prefix: p/}", []string{
			"17:12: environments.prod.forge.repository is missing", "17:12: environments.prod.forge.tokenFile is missing",
			"17:27: environments.prod.forge.prefix: github has no use for it"}},
		{"two accounts", "drift: report", "forge: {kind: github, repository: a/b, tokenFile: t, app: {id: x, keyFile: k}}", []string{
			"17:63: environments.prod.forge.tokenFile and environments.prod.forge.app exclude each other"}},
		{"no forge at all", "gates: {budget: {deletes: 0, share: 5%}, reviews: 0, signed: false}\n    drift: report", "gates: {reviewers: [a]}\n    forge: {kind: git, url: 'https://git.example.org', repository: a/b, tokenFile: t, drafts: true, prefix: '../'}", []string{
			"16:24: environments.prod.gates.reviewers: a Git server without a forge has no teams",
			"17:12: environments.prod.forge.signers is missing", "17:24: environments.prod.forge.url: a Git server",
			"17:56: environments.prod.forge.repository: a", "17:73: environments.prod.forge.tokenFile: a", "17:87: environments.prod.forge.drafts: a",
			`17:109: environments.prod.forge.prefix: "../" is no beginning`}},
		{"all are proposals", "drift: report", "status: {branch: aplomb/status}\n    forge: {kind: git, signers: [a]}", []string{
			"18:12: environments.prod.forge.prefix: branch aplomb/status, which is for reports, would be a proposal"}},
		{"no repository", "source: {git: ../fleet}", "source: {dir: ../fleet}", []string{"20:14: environments.stage.source.dir: the daemon follows declarations by commit"}},
		{"neither", "drift: report", "templates: {path: a}", []string{"17:16: exactly one of environments.prod.templates.git and environments.prod.templates.dir"}},
		{"both", "drift: report", "templates: {git: a, dir: b}", []string{"17:"}},
		{"a folder's branch", "drift: report", "policies: {dir: a, branch: b, tokenFile: c}", []string{
			"17:24: environments.prod.policies.branch: a folder has no use for it", "17:35: environments.prod.policies.tokenFile: a folder has no use for it"}},
		{"a folder's signers", "drift: report", "policies: {dir: a, signers: [b]}", []string{"17:24: environments.prod.policies.signers: a folder has no use for it"}},
		{"names of values", "drift: report", "values: {platform: x, the-region: eu}", []string{`17:27: "the-region" is not a name of a value`}},
		{"paths", "drift: report", "paths: [{path: a/}, {path: a}, {path: ../b}, {path: 'c*'}, {path: d, kinds: [nomad.jbo], names: ['[a'], targets: [us], templates: [local.file]}]", []string{
			`17:32: environments.prod.paths[1].path: there are two rules for "a"`, `17:43: environments.prod.paths[2].path: "../b" is not a folder`,
			`17:57: environments.prod.paths[3].path: "c*" is a pattern`, `17:82: environments.prod.paths[4].kinds[0]: "nomad.jbo" fits no kind`,
			`17:102: environments.prod.paths[4].names[0]: "[a" is no pattern`, `17:119: environments.prod.paths[4].targets[0]: "us" fits no target of prod`,
			`17:136: environments.prod.paths[4].templates[0]: "local.file" is no template`}},
		{"signed by nobody", "signed: false", "signed: true", []string{"16:66: environments.prod.gates.signed: source.signers names nobody"}},
		{"no window", "signed: false", "windows: []", []string{"16:67: environments.prod.gates.windows: there is none"}},
		{"windows", "signed: false", `windows: [{cron: "0 8 * * *", for: 9h}, {cron: "@daily", for: 9h}, {cron: "0 8 * * *", for: 1s}, {cron: "0 8 * * *", for: 9h, zone: CEST}]`, []string{
			"16:98: environments.prod.gates.windows[1]: cron: it is not five fields", "16:125: environments.prod.gates.windows[2]: for: it is not between",
			"16:155: environments.prod.gates.windows[3]: zone: unknown time zone CEST"}},
		{"all of a window", "signed: false", `windows: [{cron: "0 25 * * *", for: 1s, zone: Europe/Berln}]`, []string{
			"16:68: environments.prod.gates.windows[0]: cron: ", "16:68: environments.prod.gates.windows[0]: for: it is not between", "16:68: environments.prod.gates.windows[0]: zone: unknown time zone"}},
		{"freezes", "signed: false", `freezes: [{from: 2026-12-20, until: 2027-01-06T18:00:00+01:00}, {from: 2026-12-20, until: 2026-12-19}, {from: soon, until: 2027-01-06}]`, []string{
			"16:122: environments.prod.gates.freezes[1]: until: it ends before", `16:161: environments.prod.gates.freezes[2]: from: "soon" is neither`}},
		{"a reason that is many lines", "signed: false", `freezes: [{from: 2026-12-20, until: 2027-01-06, why: "a\nb"}]`, []string{"16:111: environments.prod.gates.freezes[0].why: "}},
		{"a plan", "resync: 2d}", "cliConfig: x, plan: {providers: [random], modules: [./x], network: [example.org], variables: {HOME: x, TF_LOG: x, LD_PRELOAD: x, 'A-B': x, TF_TOKEN_x: x, AWS_PROFILE: x}}}", []string{
			"14:66: environments.prod.targets.tofu.plan.mirror is missing", "14:98: environments.prod.targets.tofu.plan.modules[0]: folders are not fetched",
			`14:114: environments.prod.targets.tofu.plan.network[0]: "example.org" is no host:port`, "14:140: environments.prod.targets.tofu.plan.variables.HOME: it would",
			"14:149: environments.prod.targets.tofu.plan.variables.TF_LOG: it would", "14:160: environments.prod.targets.tofu.plan.variables.LD_PRELOAD: it would",
			`14:175: "A-B" is no name of a variable`}},
		{"a plan of nomad", "region: eu}", "region: eu, plan: {providers: []}}", []string{"12:113: environments.prod.targets.eu.plan: engine nomad has no use for it"}},
		{"a user", "resync: 2d}", "plan: {providers: [a], user: 0}}", []string{"14:"}},
		{"a provider", "resync: 2d}", "plan: {providers: [a/b/c/d]}}", []string{"14:"}},
		{"nothing", whole[strings.Index(whole, "environments:"):], "environments: {}\n", []string{"7:15: there is no environment"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(whole, tc.old) {
				t.Fatal("the example has changed")
			}
			_, findings := load(t, strings.Replace(whole, tc.old, tc.new, 1))
			if len(findings) != len(tc.want) {
				t.Fatalf("found %v, want %v", findings, tc.want)
			}
			for i, f := range findings {
				if got := strings.TrimPrefix(f.String(), "aplomb.yaml:"); !strings.HasPrefix(got, tc.want[i]) {
					t.Errorf("found %q, want %q", got, tc.want[i])
				}
			}
		})
	}
}

// TestExample: the example of the documentation is a good configuration.
func TestExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(text, "```")
	if c, findings := load(t, text); !found || len(findings) > 0 || len(c.Environments) != 1 {
		t.Errorf("%v in\n%s", findings, text)
	}
}

func TestUnread(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, MaxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"none", "large", "."} {
		if _, findings, err := Load(t.Context(), never{}, nil, filepath.Join(dir, name)); err == nil || findings != nil {
			t.Errorf("%s: %v, %v", name, findings, err)
		}
	}
}

type never struct{}

func (never) Config(context.Context, string, []byte) (compile.Config, []schema.Diagnostic, error) {
	panic("it is not asked")
}

func (never) Owners(context.Context, string, []byte) (compile.Config, []schema.Diagnostic, error) {
	panic("it is not asked")
}

func TestDiff(t *testing.T) {
	a, _ := load(t, whole)
	b, _ := load(t, strings.NewReplacer("share: 5%", "share: 6%", "ana", "ben", "  stage:", "  lab:", "drift: report", "drift: repair").Replace(whole))
	if got, want := Diff(a.JSON, a.JSON), []string(nil); !slices.Equal(got, want) {
		t.Errorf("nothing differs, and %v is told", got)
	}
	want := []string{"api.tokens", "+environments.lab", "environments.prod.drift", "environments.prod.gates.budget.share", "-environments.stage"}
	if got := Diff(a.JSON, b.JSON); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := Diff(nil, a.JSON), []string{"+api", "+data", "+environments"}; !slices.Equal(got, want) {
		t.Errorf("of nothing: %v, want %v", got, want)
	}
	if got := Diff([]byte("{"), a.JSON); !slices.Equal(got, []string{""}) {
		t.Errorf("%v of what is no JSON", got)
	}
}

// FuzzLoad: whatever the file holds ends in a configuration whose names are
// names, or in findings that say where.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("data: a\nenvironments: {a: {id: 7f3a7f3a7f3a7f3a7f3a7f3a7f3a7f3a, source: {git: \"a:b\"}, targets: {x: {engine: tofu}}}}\n"))
	check := compile.New(compile.Options{})
	path := filepath.Join(f.TempDir(), "aplomb.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, findings, err := Load(t.Context(), check, nil, path)
		if err != nil && len(data) <= MaxBytes {
			t.Fatal(err)
		}
		for _, d := range findings {
			if d.Pos.Line < 1 || d.Pos.Col < 1 {
				t.Fatalf("%s says no place", d)
			}
		}
		if c == nil {
			return
		}
		for _, e := range c.Environments {
			if !schema.ValidName(e.Name) || len(e.ID) != 32 || len(e.Targets) == 0 {
				t.Fatalf("accepted %+v", e)
			}
		}
	})
}

// TestPlan: how stacks of proposals are planned is as it is written, and nothing
// is allowed that is not.
func TestPlan(t *testing.T) {
	c, findings := load(t, strings.Replace(whole, "resync: 2d}", "plan: {user: nobody, providers: [random], variables: {CLOUD_TOKEN: keys/plan}, mirror: mirror}}", 1))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	base := filepath.Dir(c.Path)
	p := c.Environments[0].Targets[2].Plan
	if p == nil || p.User != "nobody" || p.Variables["CLOUD_TOKEN"] != filepath.Join(base, "keys/plan") || p.Mirror != filepath.Join(base, "mirror") ||
		p.State || len(p.Network)+len(p.Modules) > 0 || !slices.Equal(p.Providers, []string{"random"}) {
		t.Errorf("%+v", p)
	}
}
