package main

import (
	"fmt"
	"os/exec"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdShows is: [!] shows REPO REV:PATH REGEXP [VAR]. It waits until the file of
// a commit or branch matches, and sets VAR to the first group; with ! until it
// is not there, or does not match.
func cmdShows(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: [!] shows REPO REV:PATH REGEXP [VAR]")
	}
	want, err := regexp.Compile(args[2])
	ts.Check(err)
	var found []string
	ts.Check(poll(patience, func() error {
		text, err := exec.Command("git", "-C", ts.MkAbs(args[0]), "show", args[1]).CombinedOutput()
		found = want.FindStringSubmatch(string(text))
		if (err == nil && found != nil) == neg {
			return fmt.Errorf("%s holds %s", args[1], text)
		}
		return nil
	}))
	if len(args) == 4 {
		ts.Setenv(args[3], found[len(found)-1])
	}
}
