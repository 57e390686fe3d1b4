package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const pair = `data: data
environments:
  staging:
    id: 7f3a0000000000000000000000000001
    source: {git: ../fleet, branch: %[1]s, path: staging}
    targets: {local: {engine: local}}
%[4]s  prod:
    id: 7f3a0000000000000000000000000002
    source: {git: ../fleet, branch: main, path: %[2]s}
    targets: {local: {engine: local}}
    forge: {kind: github, repository: a/b, tokenFile: t}
    quarantine: {after: 30m, revert: true}
    after: {environment: staging%[3]s}
`

// What an environment that follows another has to say of it.
func TestAfter(t *testing.T) {
	for name, c := range map[string]struct{ branch, path, more, staging, want string }{
		"another branch":           {"next", "staging", "", "", ""},
		"files":                    {"main", "prod", `, healthy: 1h, files: ["**/*.yaml"]`, "", ""},
		"no files":                 {"main", "prod", "", "", "environments.prod.after.files is missing: both follow branch main"},
		"the same":                 {"main", "staging", "", "", "environments.prod.after: both follow the same"},
		"files of another branch":  {"next", "prod", `, files: ["*"]`, "", "environments.prod.after.files: the branches differ"},
		"no branch":                {`""`, "prod", "", "", "source.branch"},
		"each other":               {"next", "prod", "", "    after: {environment: prod}\n    forge: {kind: github, repository: a/b, tokenFile: t}\n", "follows itself by it"},
		"a pattern that is no one": {"main", "prod", `, files: ["a//b"]`, "", "environments.prod.after.files[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := load(t, fmt.Sprintf(pair, c.branch, c.path, c.more, c.staging))
			switch {
			case c.want != "" && (len(findings) == 0 || !strings.Contains(findings[0].String(), c.want)):
				t.Fatalf("found %v, want %q", findings, c.want)
			case c.want != "":
			case len(findings) > 0:
				t.Fatal(findings)
			default:
				prod := got.Environments[0]
				if *prod.Quarantine != (Quarantine{Duration(30 * time.Minute), true}) || prod.After.Environment != "staging" || prod.After.Healthy < Duration(30*time.Minute) ||
					prod.After.Branch != map[string]string{"next": "next"}[c.branch] {
					t.Errorf("%+v, %+v", prod.Quarantine, prod.After)
				}
			}
		})
	}
}
