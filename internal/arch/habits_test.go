package arch

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// houses are the folders at the top level that may hold Go.
var houses = []string{"cmd", "drivers", "examples", "internal", "reconciler", "schema", "sources", "tools"}

// topLevel keeps the top level to the list that a user finds their way by.
func topLevel(t *tree) []finding {
	var all []finding
	for dir, files := range t.packages() {
		top, _, _ := strings.Cut(dir, "/")
		if !slices.Contains(houses, top) {
			all = append(all, files[0].at(files[0].ast.Package, "%q is no folder of the house: %s", top, strings.Join(houses, " ")))
		}
	}
	return all
}

// noInit forbids func init: a reader of main sees everything that happens.
func noInit(t *tree) []finding {
	var all []finding
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				all = append(all, f.at(fn.Pos(), "func init: wire it where it is used"))
			}
		}
	}
	return all
}

// noSleep forbids waiting by the clock in tests; inside testing/synctest the
// clock is the test's own.
func noSleep(t *tree) []finding {
	var all []finding
	for _, f := range t.files {
		if _, fake := f.imports()["testing/synctest"]; fake || !f.inTests() {
			continue
		}
		f.selectors("time", func(sel *ast.SelectorExpr) {
			if sel.Sel.Name == "Sleep" {
				all = append(all, f.at(sel.Pos(), "time.Sleep in a test: wait for what is awaited, or use testing/synctest"))
			}
		})
	}
	return all
}

// globalLogger are the functions of logrus that act on its global logger.
var globalLogger = regexp.MustCompile(`^(Trace|Debug|Print|Info|Warn|Warning|Error|Fatal|Panic)(f|ln|Fn)?$|^(Set|Add|With)[A-Z]|^(StandardLogger|GetLevel|IsLevelEnabled|Exit)$`)

// noGlobalLogger forbids logging through logrus itself.
func noGlobalLogger(t *tree) []finding {
	var all []finding
	for _, f := range t.files {
		f.selectors("github.com/sirupsen/logrus", func(sel *ast.SelectorExpr) {
			if globalLogger.MatchString(sel.Sel.Name) {
				all = append(all, f.at(sel.Pos(), "logrus.%s acts on the global logger: log through an injected FieldLogger", sel.Sel.Name))
			}
		})
	}
	return all
}

// shells are programs that read their arguments as a language.
var shells = []string{"sh", "bash", "dash", "zsh", "ksh", "cmd", "powershell"}

// noShell forbids starting a shell from what ships: arguments are a list, and
// nothing takes them apart again.
func noShell(t *tree) []finding {
	var all []finding
	for _, f := range t.files {
		if f.inTests() || f.imports()["os/exec"] == token.NoPos {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			s, err := strconv.Unquote(lit.Value)
			if err == nil && slices.Contains(shells, s[strings.LastIndex(s, "/")+1:]) {
				all = append(all, f.at(lit.Pos(), "%s beside os/exec: argv, never a shell", lit.Value))
			}
			return true
		})
	}
	return all
}

// selectors visits what a file takes from an imported package.
func (f *file) selectors(imported string, visit func(*ast.SelectorExpr)) {
	name := imported[strings.LastIndex(imported, "/")+1:]
	found := false
	for _, spec := range f.ast.Imports {
		if spec.Path.Value == strconv.Quote(imported) {
			found = true
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	if !found {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
			visit(sel)
		}
		return true
	})
}

// machine is what belongs to one machine: anybody's home, and the home and the
// folder of who runs this.
var machine = regexp.MustCompile(`(?:^|[\s"'=(:\x60])(` + strings.Join(append([]string{`/(?:home|Users)/\w+`}, here()...), "|") + `)`)

func here() []string {
	var paths []string
	if home, err := os.UserHomeDir(); err == nil && len(home) > 1 {
		paths = append(paths, regexp.QuoteMeta(home)+"/")
	}
	if top, err := filepath.Abs("../.."); err == nil {
		paths = append(paths, regexp.QuoteMeta(top)+`\b`)
	}
	return paths
}

// noMachine forbids paths that hold on one machine only.
func noMachine(t *tree) []finding {
	var all []finding
	for _, f := range t.texts {
		for i, line := range strings.Split(f.data, "\n") {
			if found := machine.FindString(line); found != "" {
				all = append(all, finding(f.path+":"+strconv.Itoa(i+1)+": "+strings.TrimSpace(found)+" belongs to one machine"))
			}
		}
	}
	return all
}

func TestTopLevel(t *testing.T)       { house(t, topLevel) }
func TestNoInit(t *testing.T)         { house(t, noInit) }
func TestNoSleep(t *testing.T)        { house(t, noSleep) }
func TestNoGlobalLogger(t *testing.T) { house(t, noGlobalLogger) }
func TestNoShell(t *testing.T)        { house(t, noShell) }
func TestNoMachine(t *testing.T)      { house(t, noMachine) }

func TestTopLevelBroken(t *testing.T) {
	broken(t, topLevel, map[string]string{"pkg/a/a.go": "package a\n", "a.go": "package aplomb\n", "schema/a.go": "package schema\n"},
		`a.go:1: "." is no folder`, `pkg/a/a.go:1: "pkg" is no folder`)
}

func TestNoInitBroken(t *testing.T) {
	broken(t, noInit, map[string]string{"a/a.go": "package a\n\nfunc init() {}\n\ntype t struct{}\n\nfunc (t) init() {}\n"},
		"a/a.go:3: func init")
}

func TestNoSleepBroken(t *testing.T) {
	sleeps := func(pkg, more string) string {
		return "package " + pkg + "\n\nimport (\n\t\"time\"\n" + more + ")\n\nfunc f() { time.Sleep(1) }\n"
	}
	broken(t, noSleep, map[string]string{
		"a/a.go":         sleeps("a", ""),
		"a/a_test.go":    sleeps("a", ""),
		"a/b_test.go":    sleeps("a", "\t_ \"testing/synctest\"\n"),
		"gittest/git.go": sleeps("gittest", ""),
	},
		"a/a_test.go:7: time.Sleep", "gittest/git.go:7: time.Sleep")
}

func TestNoGlobalLoggerBroken(t *testing.T) {
	broken(t, noGlobalLogger, map[string]string{
		"a/a.go": "package a\n\nimport log \"github.com/sirupsen/logrus\"\n\nfunc f(l log.FieldLogger) {\n\tl.Info(1)\n\tlog.Infof(\"\")\n\tlog.WithField(\"a\", 1).Info()\n\t_ = log.New()\n\tlog.SetLevel(log.InfoLevel)\n}\n",
	},
		"a/a.go:10: logrus.SetLevel", "a/a.go:7: logrus.Infof", "a/a.go:8: logrus.WithField")
}

func TestNoShellBroken(t *testing.T) {
	broken(t, noShell, map[string]string{
		"a/a.go":      "package a\n\nimport \"os/exec\"\n\nvar c = exec.Command(\"/bin/sh\", \"-c\", \"true\")\n",
		"a/b.go":      "package a\n\nconst s = \"sh\"\n",
		"a/a_test.go": "package a\n\nimport \"os/exec\"\n\nvar d = exec.Command(\"sh\")\n",
	},
		`a/a.go:5: "/bin/sh" beside os/exec`)
}

func TestNoMachineBroken(t *testing.T) {
	home := "/" + "home" + "/ana" // in two, so that this file keeps the rule
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	broken(t, noMachine, map[string]string{
		"docs/a.md":  "data in /var/lib/aplomb\nsee " + home + "/fleet\n",
		"docs/b.md":  "https://example.org/home/ana and web/Users/x\n",
		"tools/a.sh": "cd " + top + "\n",
	},
		"docs/a.md:2: "+home, "tools/a.sh:1: "+top)
}
