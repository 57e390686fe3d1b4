package arch

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z0-9]+):(.*)$`)
	makeHelp   = regexp.MustCompile(`## \S`)
	makeUse    = regexp.MustCompile(`(?:\x60|^|\$ |^\s+)make ([a-z0-9]+)`)
)

// makeCommands wants every make command of the documents to exist, and every
// target to have its help.
func makeCommands(t *tree) []finding {
	var all []finding
	targets := map[string]bool{}
	for _, f := range t.texts {
		if f.path != "Makefile" {
			continue
		}
		for _, m := range makeTarget.FindAllStringSubmatch(f.data, -1) {
			targets[m[1]] = true
			if !makeHelp.MatchString(m[2]) {
				all = append(all, finding("Makefile: target "+m[1]+" has no ## help"))
			}
		}
	}
	for _, f := range t.texts {
		if !strings.HasSuffix(f.path, ".md") && f.path != ".ci/run" {
			continue
		}
		for i, line := range strings.Split(f.data, "\n") {
			for _, m := range makeUse.FindAllStringSubmatch(line, -1) {
				if !targets[m[1]] {
					all = append(all, finding(f.path+":"+strconv.Itoa(i+1)+": the Makefile has no target "+m[1]))
				}
			}
		}
	}
	return all
}

func TestMakeCommands(t *testing.T) { house(t, makeCommands) }

func TestMakeCommandsBroken(t *testing.T) {
	broken(t, makeCommands, map[string]string{
		"Makefile":  ".PHONY: test\nX := 1\ntest: ## every test\n\tgo test\nbare: test\n",
		"README.md": "Run `make test`, then `make coffee`; we make sense.\n\n    make tea\n",
		".ci/run":   "make test\nmake all\n",
	},
		".ci/run:2: the Makefile has no target all",
		"Makefile: target bare has no",
		"README.md:1: the Makefile has no target coffee",
		"README.md:3: the Makefile has no target tea",
	)
}

// TestReadmeFirstCommands holds the promise of the README to .ci/run: what a
// reader is told to run is what is run before a merge, first and in order.
func TestReadmeFirstCommands(t *testing.T) {
	house(t, func(all *tree) []finding {
		var readme, ci string
		for _, f := range all.texts {
			switch f.path {
			case "README.md":
				readme = f.data
			case ".ci/run":
				ci = f.data
			}
		}
		for _, want := range []string{"make demo", "make test"} {
			if !strings.Contains(readme, want) {
				return []finding{finding("README.md does not say " + want)}
			}
		}
		var ran []string
		for _, m := range regexp.MustCompile(`(?m)^make ([a-z0-9]+)$`).FindAllStringSubmatch(ci, -1) {
			ran = append(ran, m[1])
		}
		if want := []string{"test", "check", "e2e"}; !slices.Equal(ran, want) {
			return []finding{finding(".ci/run makes " + strings.Join(ran, " ") + ", want " + strings.Join(want, " "))}
		}
		return nil
	})
}

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```$")
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
)

// links wants what a document points to inside the repository to be there.
func links(t *tree) []finding {
	var all []finding
	for _, f := range t.texts {
		if !strings.HasSuffix(f.path, ".md") || strings.Contains(f.path, "testdata/") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllLiteralString(f.data, ""), -1) {
			if to := path.Join(path.Dir(f.path), m[1]); !strings.Contains(m[1], ":") && !t.paths[to] {
				all = append(all, finding(f.path+": points to "+to+", which is not there"))
			}
		}
	}
	return all
}

var changeTitle = regexp.MustCompile(`^(Breaking|Security|Bugfix|Change|Enhancement): \S.{0,71}$`)

// changelog wants the form that changelog/README.md gives.
func changelog(t *tree) []finding {
	var all []finding
	for _, f := range t.texts {
		name, ok := strings.CutPrefix(f.path, "changelog/unreleased/")
		if !ok {
			continue
		}
		title, rest, _ := strings.Cut(f.data, "\n")
		body, empty := strings.CutPrefix(rest, "\n")
		switch {
		case !strings.HasSuffix(name, ".md") || strings.Contains(name, "/"):
			all = append(all, finding(f.path+": is no file of changelog/unreleased named SOMETHING.md"))
		case !changeTitle.MatchString(title):
			all = append(all, finding(f.path+": the first line is not \"Kind: what a user notices\", see changelog/README.md"))
		case !empty || strings.TrimSpace(body) == "":
			all = append(all, finding(f.path+": an empty line and a text must follow the first line"))
		}
	}
	return all
}

func TestLinks(t *testing.T)     { house(t, links) }
func TestChangelog(t *testing.T) { house(t, changelog) }

func TestLinksBroken(t *testing.T) {
	broken(t, links, map[string]string{
		"README.md": "[a](docs/a.md) [b](docs/b.md#c) [d](docs) [e](https://example.org/x) [f](#here) [g](LICENSE)\n" +
			"```\n[h](docs/h.md)\n```\n",
		"LICENSE":   "free",
		"docs/a.md": "[up](../README.md) [beside](c.md)\n",
	},
		"README.md: points to docs/b.md", "docs/a.md: points to docs/c.md")
}

func TestChangelogBroken(t *testing.T) {
	broken(t, changelog, map[string]string{
		"changelog/README.md":           "anything\n",
		"changelog/unreleased/good.md":  "Bugfix: It works\n\nIt did not.\n",
		"changelog/unreleased/kind.md":  "Fixed: It works\n\nIt did not.\n",
		"changelog/unreleased/bare.md":  "Bugfix: It works\n",
		"changelog/unreleased/close.md": "Bugfix: It works\nIt did not.\n",
		"changelog/unreleased/long.md":  "Bugfix: " + strings.Repeat("x", 73) + "\n\nIt did not.\n",
		"changelog/unreleased/a/b.md":   "Bugfix: It works\n\nIt did not.\n",
	},
		"changelog/unreleased/a/b.md: is no file", "changelog/unreleased/bare.md: an empty line",
		"changelog/unreleased/close.md: an empty line", "changelog/unreleased/kind.md: the first line",
		"changelog/unreleased/long.md: the first line")
}
