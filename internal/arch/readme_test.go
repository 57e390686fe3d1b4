package arch

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z]+):(.*)$`)
	makeHelp   = regexp.MustCompile(`## \S`)
	makeUse    = regexp.MustCompile(`(?:\x60|^|\$ |^\s+)make ([a-z]+)`)
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
		for _, m := range regexp.MustCompile(`(?m)^make ([a-z]+)$`).FindAllStringSubmatch(ci, -1) {
			ran = append(ran, m[1])
		}
		if want := []string{"test", "check"}; !slices.Equal(ran, want) {
			return []finding{finding(".ci/run makes " + strings.Join(ran, " ") + ", want " + strings.Join(want, " "))}
		}
		return nil
	})
}
