package policy

import (
	"regexp"
	"strings"
)

// shape is a known one. It has nothing else in it, so that finding it is enough.
type shape struct {
	words string
	sign  string // that must be there for the expression to be tried
	re    *regexp.Regexp
}

// heads are the shapes that begin with their sign, where a word begins; the
// expressions are tried from there, and look at mostHead bytes at the most.
var heads = []shape{
	{"an AWS access key", "AKIA", regexp.MustCompile(`^AKIA[0-9A-Z]{16}\b`)},
	{"an AWS access key", "ASIA", regexp.MustCompile(`^ASIA[0-9A-Z]{16}\b`)},
	{"a GitHub token", "gh", regexp.MustCompile(`^gh[pousr]_[A-Za-z0-9]{36,255}\b`)},
	{"a GitHub token", "github_pat_", regexp.MustCompile(`^github_pat_[A-Za-z0-9_]{50,255}\b`)},
	{"a GitLab token", "glpat-", regexp.MustCompile(`^glpat-[A-Za-z0-9_-]{20}`)},
	{"a Slack token", "xox", regexp.MustCompile(`^xox[abeoprs]-[A-Za-z0-9-]{10}`)},
	{"a Stripe key", "sk_live_", regexp.MustCompile(`^sk_live_[A-Za-z0-9]{16,255}\b`)},
	{"a Stripe key", "rk_live_", regexp.MustCompile(`^rk_live_[A-Za-z0-9]{16,255}\b`)},
	{"a Google API key", "AIza", regexp.MustCompile(`^AIza[0-9A-Za-z_-]{35}`)},
	{"a Vault token", "hv", regexp.MustCompile(`^hv[sbr]\.[A-Za-z0-9_-]{20}`)},
	{"an npm token", "npm_", regexp.MustCompile(`^npm_[A-Za-z0-9]{36}\b`)},
	{"a PyPI token", "pypi-", regexp.MustCompile(`^pypi-[A-Za-z0-9_-]{50}`)},
	{"a SendGrid key", "SG.", regexp.MustCompile(`^SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}`)},
	{"an age key", "AGE-SECRET-KEY-", regexp.MustCompile(`^AGE-SECRET-KEY-1[0-9A-Z]{58}\b`)},
}

const mostHead = 320

// shapes are the others: each is looked for in all of a text, once.
var shapes = []shape{
	{"a private key", "PRIVATE KEY-----", regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----`)},
	{"a JSON web token", "eyJ", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)},
	{"a password in a URL", "://", regexp.MustCompile(`[a-z][a-z0-9+.-]*://[^/\s:@{}$<>"']+:[^/\s:@{}$<>"'*]{4,}@[A-Za-z0-9\[]`)},
}

// shaped finds a known shape: the first of those that are looked for first.
func shaped(text string) (words string, at int) {
	for _, s := range shapes {
		if !strings.Contains(text, s.sign) {
			continue
		}
		if loc := s.re.FindStringIndex(text); loc != nil {
			return s.words, loc[0]
		}
	}
	for _, s := range heads {
		if at := s.begins(text); at >= 0 {
			return s.words, at
		}
	}
	return "", 0
}

// begins is where the first of a shape with a head is; -1 for nowhere.
func (s shape) begins(text string) int {
	for from := 0; ; {
		i := strings.Index(text[from:], s.sign)
		if i < 0 {
			return -1
		}
		at := from + i
		from = at + 1
		word := at > 0 && (alphanumeric(text[at-1]) || text[at-1] == '_')
		if !word && s.re.MatchString(text[at:min(at+mostHead, len(text))]) {
			return at
		}
	}
}
