// Package forgetest is the suite that every forge.Forge passes, and what it
// needs: a front that counts and breaks requests, and a repository of proposals
// in memory, which the fake servers of GitHub and GitLab show each in its own
// API. It must not know a concrete forge.
//
// In reading order: Server, Run (suite.go and the files suite_*.go), Front, and
// Repository for who writes a fake.
package forgetest

import (
	"net/http"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// The people of a Server. Us is aplomb's own account, which may write.
const (
	Us  = "aplomb"
	Ana = "ana" // may write, and is in Team
	Bo  = "bo"  // administers, and is in Team
	Cy  = "cy"  // may read, and has a fork
)

// Team is a team of the organisation that owns the repository.
const Team = "platform"

// Main is the branch that proposals go to.
const Main = "main"

// Server is a forge with one repository, and what people do on it. Its methods
// fail the test where they cannot do it. ServeHTTP is what its API answers.
type Server interface {
	http.Handler

	// Connect is the forge as Us, with a token that is right or wrong, at an
	// address that leads to ServeHTTP.
	Connect(t testing.TB, url string, right bool) forge.Forge
	// Team is Team by the forge's own word.
	Team() string
	// Cheap says that things can be made by the hundred.
	Cheap() bool
	// Conditional says that the API answers "not modified".
	Conditional() bool

	Commit(t testing.TB) string            // a new commit on Main, pushed directly
	Branch(t testing.TB, name string)      // a branch with a commit of its own
	Propose(t testing.TB, p Wish) string   // gives the id
	Push(t testing.TB, id string) string   // another commit; gives the head
	Head(t testing.TB, id string) string   // of a proposal
	Merge(t testing.TB, id string) string  // gives what Main got
	Close(t testing.TB, id string)         // without merging
	Say(t testing.TB, id, by, body string) // a comment
	// Edit alters the newest comment of somebody, as a moderator can.
	Edit(t testing.TB, id, by, body string)
	Review(t testing.TB, id, by string, v forge.Verdict) // Dismissed takes the last one back
	Remark(t testing.TB, id, by string)                  // a review that only comments

	Comments(t testing.TB, id string) []forge.Comment             // all, the oldest first
	Statuses(t testing.TB, commit, context string) []forge.Status // all ever written that the forge tells, the oldest first
}

// Wish is a proposal that somebody makes.
type Wish struct {
	By     string
	Branch string // head
	Into   string // empty: Main
	Title  string
	Draft  bool
	Fork   bool // from Cy's fork
}
