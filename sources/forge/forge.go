// Package forge holds the contract between aplomb and the place where people
// propose, review and discuss changes: GitHub, GitLab, Gitea, or a plain Git
// server. It also holds what the implementations share: the transport with its
// limits and conditional requests, classes of errors, hidden marks in comments.
//
// It must not know what a plan is, who has to agree to one, nor which forge it
// speaks to. The implementations are sub-packages and do not see each other;
// forgetest is the suite that all of them pass.
//
// In reading order: Forge and its types here, errors.go, comment.go and
// reviews.go (what is done with texts and verdicts alike everywhere), server.go
// (one client for one server) with transport.go, limits.go and cache.go.
package forge

import (
	"context"
	"strings"
	"time"
)

// Forge is one repository on a forge, seen as aplomb's own account. Calls may
// be concurrent. Every answer is what the forge said last: nothing is
// remembered that the forge was not asked about again, but who we are and the
// immutable.
//
// Reads have no effect. Writes are idempotent: the same call again writes
// nothing. After an error it is unknown whether a write took place; the same
// call again finds out.
//
// Errors are *Error, with a class to be found by errors.Is: ErrDenied, ErrGone,
// ErrLimited, ErrUnreachable, ErrRefused, ErrUnsupported. An ended context
// gives its own error. Nothing is tried again in here: the caller asks again,
// after ErrLimited not before RetryAt.
//
// Lists are whole or an error: one of more than MaxItems is ErrRefused, since a
// list that is cut reads as if the rest did not exist.
type Forge interface {
	// Proposals are the open ones that want to be merged into branch, of forks
	// too, the oldest first.
	Proposals(ctx context.Context, branch string) ([]Proposal, error)

	// Origin are the merged proposals into branch by which commit came there;
	// none where it was pushed directly. commit is a whole hash, best the one
	// that the merge made: not every forge knows the others.
	Origin(ctx context.Context, branch, commit string) ([]Proposal, error)

	// Reviews is the last word of everybody who approved p, wants changes, or
	// did either until it was dismissed; a person appears once. Whether that
	// person's word counts is not said: see Members and Permission.
	Reviews(ctx context.Context, p Proposal) ([]Review, error)

	// Comments are those on p that were written or changed at or after since,
	// the oldest first, our own and the forge's own notes too. Times are the
	// forge's, of whole seconds: ask again for the time of the newest seen, and
	// go by ID.
	Comments(ctx context.Context, p Proposal, since time.Time) ([]Comment, error)

	// Comment keeps one comment of ours for each key on p, as Markdown. It is
	// found again by a hidden mark at its very beginning and by us being its
	// author, edited in place, and left alone where it is equal. A body beyond
	// Limits is cut at a line, and says so. A key is 1 to 100 of a-z 0-9 . _ / -,
	// without a dash or a dot first.
	Comment(ctx context.Context, p Proposal, key, body string) error

	// Status says of commit, a whole hash, what became of it in one context.
	// Description and Context beyond Limits are cut. Where the newest status of
	// that context is equal nothing is written.
	Status(ctx context.Context, commit string, s Status) error

	// Members are the direct members of a team, by the forge's own word for
	// one: "org/team", or "team" of the repository's owner (GitHub, Gitea); the
	// path of a group (GitLab).
	Members(ctx context.Context, team string) ([]Account, error)

	// Permission is what an account may do in this repository; None for one
	// that nobody knows.
	Permission(ctx context.Context, account string) (Permission, error)

	// Open proposes a branch of this repository, or gives the open proposal
	// that there is from that branch into that base, unaltered.
	Open(ctx context.Context, d Draft) (Proposal, error)

	// File is where people read a file of this repository: at a whole commit
	// hash, or as a branch has it now; at a line, where that is not 0. Empty where
	// there is no such place. It asks nobody.
	File(at, path string, line int) string

	// Limits is what the forge can take. It asks nobody.
	Limits() Limits
}

// MaxItems bounds every list.
const MaxItems = 5000

// Account is a person or a program on the forge.
type Account struct {
	ID   string // stays when the name changes, and is never given to another; empty where the forge has none
	Name string // to log in with, to mention, to configure
	Bot  bool   // the forge says that it is a program
}

// Is says whether a configured name means this account. No forge
// distinguishes capital letters in names.
func (a Account) Is(name string) bool { return name != "" && strings.EqualFold(a.Name, name) }

// State is how far a proposal has come.
type State string

// The states of a proposal.
const (
	Open   State = "open"
	Merged State = "merged"
	Closed State = "closed" // and not merged
)

// Answer is what a forge knows, or does not know yet.
type Answer string

// The answers.
const (
	Unknown Answer = "" // not told in lists, or still being found out
	Yes     Answer = "yes"
	No      Answer = "no"
)

// Proposal is a pull request, a merge request, or a branch that asks to be
// merged.
type Proposal struct {
	ID     string // of the forge, for its calls and for people: "17"; a branch where there are no numbers
	Title  string // whatever its author wrote: never markup, never trusted
	Author Account
	URL    string // for people
	State  State
	Draft  bool

	Head       string // the commit that is proposed
	Ref        string // where the repository has it, to be fetched: "refs/pull/17/head"
	HeadBranch string // in the repository of its author
	Fork       bool   // Head comes from another repository, or from one that is gone
	Branch     string // that it wants to be merged into

	// Base is the commit of Branch that the forge compares Head with: the merge
	// base where it tells one, else a tip that was. It is for screens and to
	// notice movement; what was really forked from where, Git tells.
	Base string

	Mergeable   Answer // without conflicts, whatever else may stand in the way
	MergeCommit string // once merged: what Branch got by it, where the forge tells
	Updated     time.Time
}

// Verdict is what a review comes to.
type Verdict string

// The verdicts.
const (
	Approved  Verdict = "approved"
	Changes   Verdict = "changes"   // are wanted
	Dismissed Verdict = "dismissed" // it was one of the others, and no longer counts
)

// Review is somebody's word on a proposal.
type Review struct {
	Author  Account
	Verdict Verdict

	// Commit is the Head that the word was given for. Empty where the forge does
	// not say: such an approval is for nothing in particular, and must not count
	// for one commit.
	Commit string
	At     time.Time
}

// Comment is what somebody wrote on a proposal.
type Comment struct {
	ID     string
	Author Account
	Ours   bool
	Body   string

	// At is when it was written. Zero: nobody can tell, so that it can be for
	// nothing but what it names itself; such a comment is told whatever since is.
	At time.Time

	Means string // by which it was said, where that is no comment: "signed tag approve/x"

	// Edited says that it is not as it was first written. Who may moderate may
	// edit what others wrote: an edited comment is nobody's word.
	Edited bool
}

// StatusState is what a commit status says.
type StatusState string

// The states of a status.
const (
	Pending StatusState = "pending"
	Success StatusState = "success"
	Failure StatusState = "failure" // the commit is at fault
	Errored StatusState = "error"   // something else is
)

// Status is a line beside a commit.
type Status struct {
	Context     string // whose word it is, such as "aplomb/prod"
	State       StatusState
	Description string
	URL         string // for people; may be empty
}

// Permission is what somebody may do in a repository; more includes less.
type Permission int

// The permissions.
const (
	None Permission = iota
	Read
	Write
	Admin
)

// String is the permission's word.
func (p Permission) String() string {
	switch p {
	case Read:
		return "read"
	case Write:
		return "write"
	case Admin:
		return "admin"
	}
	return "none"
}

// Draft is a proposal to be made.
type Draft struct {
	Branch string // that is proposed, of this repository
	Base   string // branch to merge into
	Title  string
	Body   string // Markdown
}

// Limits is what a forge can take. Zero: it has no such thing.
type Limits struct {
	Comment     int // bytes of a comment
	Description int // characters of a status's description
	Context     int // characters of a status's context
}
