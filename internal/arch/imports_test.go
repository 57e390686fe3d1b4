package arch

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// importRule says what the packages that match from must not import. It holds
// for what ships; tests may stand anywhere.
//
// Patterns are import paths, the module's own from "./". "..." at the end
// stands for anything below and the folder itself, "*" for one element of a
// path, and "third-party" for whatever is neither of the module nor of the
// standard library.
type importRule struct {
	from   []string
	except []string // of from: packages that may
	not    []string
	but    []string // of not: what may be imported all the same
	own    int      // packages that share the importer's first own path elements may be imported; 0: none is
	why    string
}

// importRules is the direction of the house: cmd -> reconciler -> {sources,
// drivers} -> schema.
var importRules = []importRule{
	{
		from: []string{"./schema"}, not: []string{"./...", "third-party"},
		why: "the vocabulary is what everything else stands on: whatever it imports, all do",
	},
	{
		from: []string{"./schema/..."}, not: []string{"./..."}, but: []string{"./schema/...", "./internal/..."},
		why: "compiling declarations knows no driver, no source and no turn, so that it can run in a process of its own",
	},
	{
		from: []string{"./sources/..."}, not: []string{"./reconciler/...", "./drivers/...", "./schema/compile/...", "./schema/policy/...", "./cmd/..."},
		why: "a source gives files and takes reports; what they mean and what is done with them is not its concern",
	},
	{
		from: []string{"./sources/*/..."}, not: []string{"./sources/*/..."}, own: 2,
		why: "sources are alternatives: one that needs another cannot be chosen without it",
	},
	{
		from: []string{"./sources/forge/*/..."}, not: []string{"./sources/forge/*/..."}, own: 3,
		why: "forges are alternatives: what they share is the contract and its transport, in the package above them",
	},
	{
		from: []string{"./sources/forge"}, not: []string{"./...", "third-party"}, but: []string{"./schema", "./internal/outbound"},
		why: "the contract of a forge fits one without an API, too: no forge's client has a place in it",
	},
	{
		from: []string{"./sources/webhook/..."}, not: []string{"./...", "third-party"}, but: []string{"./schema", "./sources/webhook/...", "github.com/sirupsen/logrus"},
		why: "what listens to the outside stays small enough to be read at a sitting, and can only kick",
	},
	{
		from: []string{"./drivers"}, not: []string{"./...", "third-party"}, but: []string{"./schema", "github.com/sirupsen/logrus", "golang.org/x/..."},
		why: "the contract and its decorators are shared by every driver: an engine's needs have no place in them",
	},
	{
		from: []string{"./drivers/*/..."}, not: []string{"./reconciler/...", "./sources/...", "./schema/compile/...", "./schema/policy/...", "./cmd/..."},
		why: "a driver answers four calls about its engine; it is told what is wanted and never decides when",
	},
	{
		from: []string{"./drivers/*/*/..."}, not: []string{"./drivers/*/..."}, own: 3,
		why: "a driver sees no other driver: what they share is the contract, or a helper below internal",
	},
	{
		from: []string{"./drivers/memory/...", "./drivers/drivertest/..."}, not: []string{"./drivers/*/*/..."},
		why: "the reference and the conformance suite judge the concrete drivers; they must not know one",
	},
	{
		from: []string{"./reconciler/..."}, not: []string{"./drivers/*/...", "./sources/*/...", "./cmd/..."},
		why: "the reconciler speaks to contracts only: that is what lets the memory driver prove it",
	},
	{
		from: []string{"./reconciler/..."}, not: []string{"./internal/api/...", "./internal/config/..."},
		why: "the API and the configuration stand above the reconciler and wire it",
	},
	{
		from: []string{"./reconciler/graph/...", "./reconciler/plan/...", "./reconciler/gate/..."}, not: []string{"./reconciler/store/...", "./reconciler", "os", "net", "net/http", "os/exec"},
		why: "order, changes and decisions are pure functions; with I/O they could not be tested from a seed",
	},
	{
		from: []string{"./internal/detached/..."}, not: []string{"./reconciler/...", "./drivers/...", "./sources/...", "./schema/compile/...", "./cmd/..."},
		why: "the shim must stay a small program that outlives the daemon and depends on nothing of it",
	},
	{
		from: []string{"./internal/sandbox/..."}, not: []string{"./...", "third-party"}, but: []string{"golang.org/x/sys/...", "github.com/elastic/go-seccomp-bpf/..."},
		why: "what stands between a stranger's program and this machine stays small enough to be read at a sitting, and knows nothing that it could give away",
	},
	{
		from: []string{"./..."}, except: []string{"./internal/sandbox/..."}, not: []string{"github.com/elastic/go-seccomp-bpf/..."},
		why: "what a program may ask of the kernel is decided in one place",
	},
	{
		from: []string{"./..."}, except: []string{"./drivers/*/*/...", "./cmd/...", "./internal/detached/..."}, not: []string{"./internal/detached/..."},
		why: "processes are a driver's means, and cmd starts the shim; nobody else starts what outlives the daemon",
	},
	{
		from: []string{"./..."}, except: []string{"./cmd/..."}, not: []string{"./cmd/...", "./examples/...", "./tools/..."}, own: 2,
		why: "programs, examples and tools are ends: nothing is built on them",
	},
	{
		from: []string{"./examples/..."}, not: []string{"./..."},
		why: "an example is what a user has: the command line and nothing else of this repository",
	},
	{
		from: []string{"./..."}, except: []string{"./schema/compile/...", "./schema/policy/...", "./schema/cueload/...", "./tools/..."}, not: []string{"cuelang.org/go/..."},
		why: "evaluating CUE cannot be cancelled and its memory grows: it happens in a worker process only",
	},
	{
		from: []string{"./..."}, except: []string{"./schema/compile/...", "./internal/config/..."}, not: []string{"gopkg.in/yaml.v3", "go.yaml.in/..."},
		why: "YAML is parsed once, with positions and limits; a second parser would see a second document",
	},
	{
		from: []string{"./..."}, except: []string{"./sources/git/..."}, not: []string{"github.com/go-git/..."},
		why: "Git is a source's trade; advisories about its library are answered in one place",
	},
	{
		from: []string{"./..."}, except: []string{"./cmd/..."}, not: []string{"github.com/spf13/..."},
		why: "flags belong to the command line; below it a setting is a field",
	},
	{
		from: []string{"./..."}, except: []string{"./drivers/scheduler/nomad/...", "./tools/nomadschema"}, not: []string{"github.com/hashicorp/nomad/..."},
		why: "an engine's API client stays in its own driver, and beside the generator of its schema",
	},
	{
		from: []string{"./..."}, except: []string{"./drivers/mesh/consul/..."}, not: []string{"github.com/hashicorp/consul/..."},
		why: "an engine's API client stays in its own driver",
	},
	{
		from: []string{"./..."}, except: []string{"./drivers/secret/vault/..."}, not: []string{"github.com/hashicorp/vault/...", "github.com/openbao/..."},
		why: "an engine's API client stays in its own driver",
	},
	{
		from: []string{"./..."}, except: []string{"./sources/forge/github/..."}, not: []string{"github.com/google/go-github/...", "github.com/golang-jwt/..."},
		why: "a forge's client library, and the proof of being its app, stay in the package of that forge",
	},
	{
		from: []string{"./..."}, except: []string{"./sources/forge/gitlab/..."}, not: []string{"gitlab.com/gitlab-org/..."},
		why: "a forge's client library stays in the package of that forge",
	},
	{
		from: []string{"./..."}, except: []string{"./sources/forge/gitea/..."}, not: []string{"code.gitea.io/..."},
		why: "a forge's client library stays in the package of that forge",
	},
	{
		from: []string{"./..."}, except: []string{"./internal/metrics/..."}, not: []string{"github.com/prometheus/..."},
		why: "what is measured is read from plain counters when somebody asks; nothing else knows who asks",
	},
	{
		from: []string{"./..."}, except: []string{"./examples/...", "./tools/..."}, not: []string{"log"},
		why: "the log is an injected logrus.FieldLogger with stable keys; the standard logger is a global",
	},
	{
		from: []string{"./..."}, not: []string{"net/http/pprof", "expvar", "unsafe", "plugin"},
		why: "importing pprof or expvar opens routes on a global mux; unsafe and plugin are never needed here",
	},
	{
		from: []string{"./..."}, not: []string{"testing", "testing/...", "./drivers/drivertest/...", "github.com/rogpeppe/go-internal/..."},
		why: "what ships does not carry the test framework; packages for tests have names that end in test",
	},
}

// imports applies the import rules.
func imports(t *tree) []finding {
	var all []finding
	for _, f := range t.files {
		if f.inTests() {
			continue
		}
		for imported, pos := range f.imports() {
			for _, r := range importRules {
				if r.forbids(f.dir, imported) {
					all = append(all, f.at(pos, "%s imports %s: %s", f.dir, imported, r.why))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// forbids says whether the package in dir breaks r by importing what.
func (r importRule) forbids(dir, what string) bool {
	from := "./" + dir
	if dir == "." {
		from = "."
	}
	if !matchAny(r.from, from) || matchAny(r.except, from) || !matchAny(r.not, what) || matchAny(r.but, what) {
		return false
	}
	return r.own == 0 || head(from, r.own) != head(what, r.own)
}

// head is the first n elements of an own import path, without the dot.
func head(p string, n int) string {
	elems := strings.Split(strings.TrimPrefix(p, "./"), "/")
	return path.Join(elems[:min(n, len(elems))]...)
}

func matchAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, p) })
}

// match says whether an import path matches a pattern of importRule.
func match(pattern, p string) bool {
	if pattern == "third-party" {
		first, _, _ := strings.Cut(p, "/")
		return first != "." && strings.Contains(first, ".")
	}
	want, got := strings.Split(pattern, "/"), strings.Split(p, "/")
	for i, w := range want {
		switch {
		case w == "...":
			return true
		case i >= len(got) || w != "*" && w != got[i]:
			return false
		}
	}
	return len(want) == len(got)
}

func TestImports(t *testing.T) { house(t, imports) }

func TestImportsBroken(t *testing.T) {
	file := func(pkg string, imports ...string) string {
		src := "package " + pkg + "\n"
		for _, p := range imports {
			src += "import _ \"" + strings.Replace(p, "./", module+"/", 1) + "\"\n"
		}
		return src
	}
	broken(t, imports, map[string]string{
		"schema/a.go":                       file("schema", "fmt", "gopkg.in/yaml.v3"),
		"schema/compile/a.go":               file("compile", "./schema", "./drivers", "cuelang.org/go/cue", "gopkg.in/yaml.v3"),
		"sources/git/a.go":                  file("git", "./sources", "./sources/git/internal", "./sources/dir", "github.com/go-git/go-git/v5"),
		"sources/dir/a.go":                  file("dir", "./reconciler"),
		"sources/forge/a.go":                file("forge", "./schema", "./sources", "github.com/google/go-querystring/query"),
		"sources/forge/github/a.go":         file("github", "./sources/forge", "./sources/forge/gitlab", "github.com/google/go-github/v89/github", "code.gitea.io/sdk/gitea"),
		"sources/forge/gitlab/a.go":         file("gitlab", "gitlab.com/gitlab-org/api/client-go/v2", "github.com/golang-jwt/jwt/v5"),
		"sources/forge/githubtest/a.go":     file("githubtest", "./sources/forge/forgetest", "github.com/golang-jwt/jwt/v5", "testing"),
		"sources/webhook/a.go":              file("webhook", "./schema", "./sources/forge", "github.com/sirupsen/logrus", "gitlab.com/gitlab-org/api/client-go/v2"),
		"drivers/a.go":                      file("drivers", "./schema", "github.com/sirupsen/logrus", "go.etcd.io/bbolt"),
		"drivers/memory/a.go":               file("memory", "./drivers", "./drivers/mesh/local"),
		"drivers/mesh/local/a.go":           file("local", "./drivers", "./drivers/mesh/local/catalog", "./internal/detached", "./drivers/scheduler/local"),
		"drivers/mesh/local/a_test.go":      file("local", "./drivers/drivertest", "./drivers/memory", "testing"),
		"drivers/secret/local/a.go":         file("local", "./sources", "github.com/hashicorp/nomad/api"),
		"drivers/scheduler/nomad/a.go":      file("nomad", "github.com/hashicorp/nomad/api"),
		"drivers/drivertest/a.go":           file("drivertest", "testing", "./drivers"),
		"reconciler/a.go":                   file("reconciler", "./drivers", "./sources", "./schema/compile", "./drivers/memory", "./internal/detached"),
		"reconciler/plan/a.go":              file("plan", "os", "./reconciler/graph"),
		"internal/api/a.go":                 file("api", "./reconciler", "github.com/spf13/cobra", "log"),
		"internal/metrics/a.go":             file("metrics", "./reconciler", "github.com/prometheus/client_golang/prometheus"),
		"internal/daemon/a.go":              file("daemon", "github.com/prometheus/client_golang/prometheus"),
		"cmd/aplomb/a.go":                   file("main", "./reconciler", "./drivers/mesh/local", "./internal/detached", "./cmd/aplomb/sub", "github.com/spf13/cobra"),
		"examples/shop/a.go":                file("main", "log", "./schema"),
		"internal/sandbox/a.go":             file("sandbox", "golang.org/x/sys/unix", "./schema", "github.com/elastic/go-seccomp-bpf"),
		"internal/c/a.go":                   file("c", "github.com/elastic/go-seccomp-bpf/arch"),
		"internal/b/a.go":                   file("b", "./cmd/aplomb", "testing/synctest", "net/http/pprof", "cuelang.org/go/cue/load"),
		"tools/kinds/a.go":                  file("main", "cuelang.org/go/cue", "log"),
		"drivers/mesh/local/testdata/no.go": file("x", "./reconciler"),
	},
		"drivers/a.go:4: drivers imports go.etcd.io/bbolt",
		"drivers/memory/a.go:3: drivers/memory imports ./drivers/mesh/local",
		"drivers/mesh/local/a.go:5: drivers/mesh/local imports ./drivers/scheduler/local",
		"drivers/secret/local/a.go:2: drivers/secret/local imports ./sources",
		"drivers/secret/local/a.go:3: drivers/secret/local imports github.com/hashicorp/nomad/api",
		"examples/shop/a.go:3: examples/shop imports ./schema",
		"internal/api/a.go:3: internal/api imports github.com/spf13/cobra",
		"internal/api/a.go:4: internal/api imports log",
		"internal/daemon/a.go:2: internal/daemon imports github.com/prometheus/client_golang/prometheus",
		"internal/b/a.go:2: internal/b imports ./cmd/aplomb",
		"internal/b/a.go:3: internal/b imports testing/synctest",
		"internal/b/a.go:4: internal/b imports net/http/pprof",
		"internal/b/a.go:5: internal/b imports cuelang.org/go/cue/load",
		"internal/c/a.go:2: internal/c imports github.com/elastic/go-seccomp-bpf/arch",
		"internal/sandbox/a.go:3: internal/sandbox imports ./schema",
		"reconciler/a.go:5: reconciler imports ./drivers/memory",
		"reconciler/a.go:6: reconciler imports ./internal/detached: processes",
		"reconciler/plan/a.go:2: reconciler/plan imports os",
		"schema/a.go:3: schema imports gopkg.in/yaml.v3: YAML",
		"schema/a.go:3: schema imports gopkg.in/yaml.v3: the vocabulary",
		"schema/compile/a.go:3: schema/compile imports ./drivers",
		"sources/dir/a.go:2: sources/dir imports ./reconciler",
		"sources/forge/a.go:3: sources/forge imports ./sources: the contract",
		"sources/forge/a.go:4: sources/forge imports github.com/google/go-querystring/query",
		"sources/forge/github/a.go:3: sources/forge/github imports ./sources/forge/gitlab",
		"sources/forge/github/a.go:5: sources/forge/github imports code.gitea.io/sdk/gitea",
		"sources/forge/gitlab/a.go:3: sources/forge/gitlab imports github.com/golang-jwt/jwt/v5",
		"sources/webhook/a.go:3: sources/webhook imports ./sources/forge: sources are",
		"sources/webhook/a.go:3: sources/webhook imports ./sources/forge: what listens",
		"sources/webhook/a.go:5: sources/webhook imports gitlab.com/gitlab-org/api/client-go/v2: what listens",
		"sources/webhook/a.go:5: sources/webhook imports gitlab.com/gitlab-org/api/client-go/v2: a forge",
		"sources/git/a.go:4: sources/git imports ./sources/dir",
	)
}
