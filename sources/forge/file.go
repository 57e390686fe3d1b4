package forge

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var commitRE = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// IsCommit says whether at is a whole commit hash, and no name of a branch.
func IsCommit(at string) bool { return commitRE.MatchString(at) }

// FileURL is the address of a file below that of all files at one place, with
// the anchor of a line that GitHub, GitLab and Gitea have. What it makes of a
// path holds nothing that Markdown or HTML takes for its own.
func FileURL(base, at, path string, line int) string {
	u := base + "/" + escapePath(at) + "/" + escapePath(path)
	if line > 0 {
		u += "#L" + strconv.Itoa(line)
	}
	return u
}

// escapePath escapes all but letters, digits and a few signs, also those that an
// address may hold and a text around it may not: parentheses, quotes, asterisks.
func escapePath(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			_, _ = fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
