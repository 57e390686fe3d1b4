package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/config"
)

// A folder is judged as the part that it is of what an environment follows.
func TestFollowedPart(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{".git", "fleet/teams/pay", "other"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fleet := filepath.Join(root, "fleet")
	for _, c := range []struct {
		source config.Source
		folder string
		base   string
		part   bool
	}{
		{config.Source{Dir: fleet}, "fleet", "", false},
		{config.Source{Dir: fleet}, "fleet/teams/pay", "teams/pay", true},
		{config.Source{Dir: "/srv/elsewhere"}, "fleet/teams", "fleet/teams", false},
		{config.Source{Git: "x"}, ".", "", false},
		{config.Source{Git: "x"}, "fleet", "fleet", true},
		{config.Source{Git: "x", Path: "fleet"}, "fleet", "", false},
		{config.Source{Git: "x", Path: "fleet"}, "fleet/teams/pay", "teams/pay", true},
		{config.Source{Git: "x", Path: "fleet"}, "other", "", false},
	} {
		if base, part := followedPart(c.source, filepath.Join(root, c.folder)); base != c.base || part != c.part {
			t.Errorf("%+v %s: %q %v", c.source, c.folder, base, part)
		}
	}
}
