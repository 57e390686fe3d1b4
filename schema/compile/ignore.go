package compile

import (
	"fmt"
	"path"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// IgnoreFile lists, at the root of a tree, what is no declaration. One pattern
// a line; empty lines and lines that begin with # say nothing. Within a name
// *, ? and [a-z] stand for characters, ** for any number of folders. A pattern
// that holds a slash other than a last one begins at the root, any other
// matches at every depth; a last slash means folders only; a folder that is
// listed is left out with all that it holds. There is no negation.
const IgnoreFile = ".aplombignore"

// maxIgnoreBytes and maxPatterns bound an IgnoreFile.
const (
	maxIgnoreBytes = 64 << 10
	maxPatterns    = 1000
)

// ignore is a parsed IgnoreFile.
type ignore []pattern

type pattern struct {
	steps   []string
	folders bool
}

// parseIgnore answers findings for lines that are no pattern.
func parseIgnore(text string) (ignore, []schema.Diagnostic) {
	var ig ignore
	var findings []schema.Diagnostic
	bad := func(line int, format string, args ...any) {
		findings = append(findings, schema.Diagnostic{Pos: schema.Pos{File: IgnoreFile, Line: line + 1, Col: 1}, Message: fmt.Sprintf(format, args...)})
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		p, err := parsePattern(line)
		switch {
		case line[0] == '!':
			bad(i, "patterns cannot be negated")
		case err != nil:
			bad(i, "%q is no pattern: %s", shorten(line), err)
		case len(ig) == maxPatterns:
			bad(i, "more than %d patterns", maxPatterns)
			return ig, findings
		default:
			ig = append(ig, p)
		}
	}
	return ig, findings
}

func parsePattern(line string) (pattern, error) {
	text, folders := strings.CutSuffix(line, "/")
	anchored := strings.Contains(text, "/")
	p := pattern{folders: folders}
	if !anchored {
		p.steps = append(p.steps, "**")
	}
	for step := range strings.SplitSeq(strings.TrimPrefix(text, "/"), "/") {
		if step == "" || step == "." || step == ".." {
			return p, fmt.Errorf("%q is not the name of a file or folder", step)
		}
		if _, err := path.Match(step, ""); err != nil {
			return p, err
		}
		if step == "**" && len(p.steps) > 0 && p.steps[len(p.steps)-1] == "**" {
			continue
		}
		p.steps = append(p.steps, step)
	}
	return p, nil
}

// match says whether name, slash-separated and relative to the root, is
// listed.
func (ig ignore) match(name string, folder bool) bool {
	if len(ig) == 0 {
		return false
	}
	steps := strings.Split(name, "/")
	for _, p := range ig {
		if (folder || !p.folders) && matchSteps(p.steps, steps) {
			return true
		}
	}
	return false
}

// matchSteps is linear in len(pattern)*len(steps): only the last ** is gone
// back to.
func matchSteps(pattern, steps []string) bool {
	p, s, star, from := 0, 0, -1, 0
	for s < len(steps) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			star, from = p, s
			p++
		case p < len(pattern) && matchStep(pattern[p], steps[s]):
			p++
			s++
		case star >= 0:
			from++
			p, s = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

func matchStep(pattern, step string) bool {
	ok, err := path.Match(pattern, step)
	return ok && err == nil
}
