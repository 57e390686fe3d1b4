package compile

import (
	"fmt"
	"slices"
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
	schema.Glob
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
	if !strings.Contains(text, "/") {
		text = "**/" + text
	}
	g, err := schema.ParseGlob(strings.TrimPrefix(text, "/"))
	return pattern{g, folders}, err
}

// match says whether name, slash-separated and relative to the root, is
// listed.
func (ig ignore) match(name string, folder bool) bool {
	if len(ig) == 0 {
		return false
	}
	steps := strings.Split(name, "/")
	return slices.ContainsFunc(ig, func(p pattern) bool { return (folder || !p.folders) && p.MatchSteps(steps) })
}
