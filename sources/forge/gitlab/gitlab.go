// Package gitlab is GitLab, gitlab.com and self-managed, as a forge.Forge: by
// REST, with an access token. It must not know what is written in comments and
// statuses, nor who has to agree to what.
//
// In reading order: Config and Forge, proposals.go, reviews.go (to which commit
// an approval belongs, which GitLab does not say), people.go, write.go.
package gitlab

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	api "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// PublicURL is gitlab.com.
const PublicURL = "https://gitlab.com"

// Config says which project, and who we are.
type Config struct {
	URL       string        // of the server, with the path below which it is served, without /api/v4; empty: PublicURL
	Project   string        // its whole path: "group/subgroup/name"
	TokenFile string        // an access token: of a person, a group or a project
	CAFile    string        // authorities beside the system's
	Timeout   time.Duration // of a request; 0: 30 s
}

// Forge is one project on a GitLab.
type Forge struct {
	project string
	web     string // where people see the project
	client  *api.Client

	writing sync.Mutex // from looking for our comment or status to writing it
	me      forge.Memo[forge.Account]

	mu    sync.Mutex
	bases map[string]string // what a head is compared with, by merge request and head
}

var _ forge.Forge = (*Forge)(nil)

// New asks nobody yet.
func New(c Config) (*Forge, error) {
	const op = "use the project"
	if !strings.Contains(strings.Trim(c.Project, "/"), "/") || strings.ContainsAny(c.Project, "?#%\\ ") {
		return nil, forge.Refuse(op, c.Project, "it is not of the form group/name", "")
	}
	if c.TokenFile == "" {
		return nil, forge.Refuse(op, c.Project, "a token is needed", "set tokenFile")
	}
	if c.URL == "" {
		c.URL = PublicURL
	}
	server := forge.Server{URL: strings.TrimRight(c.URL, "/"), CAFile: c.CAFile, Timeout: c.Timeout, Credential: forge.TokenFile(c.TokenFile)}
	h, err := server.Client()
	if err != nil {
		return nil, err
	}
	client, err := api.NewAuthSourceClient(nobody{}, api.WithBaseURL(server.URL), api.WithHTTPClient(h), api.WithoutRetries(),
		api.WithURLWarningLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, forge.Fail(op, c.Project, err)
	}
	project := strings.Trim(c.Project, "/")
	return &Forge{project: project, web: server.URL + "/" + project, client: client, bases: map[string]string{}}, nil
}

// nobody is how GitLab's client is told that the transport says who we are.
type nobody struct{}

// Init does nothing.
func (nobody) Init(context.Context, *api.Client) error { return nil }

// Header is one that says nothing: the client wants one.
func (nobody) Header(context.Context) (string, string, error) { return "User-Agent", "aplomb", nil }

// Limits are GitLab's own.
func (f *Forge) Limits() forge.Limits {
	return forge.Limits{Comment: 1_000_000, Description: 255, Context: 255}
}

// File implements forge.Forge.
func (f *Forge) File(at, path string, line int) string {
	return forge.FileURL(f.web+"/-/blob", at, path, line)
}

// subject names the project, or what of it, in errors.
func (f *Forge) subject(of ...string) string {
	return strings.Join(append([]string{f.project}, of...), "!")
}

// number is a proposal's ID for the API.
func (f *Forge) number(op string, p forge.Proposal) (int64, error) {
	n, err := strconv.ParseInt(p.ID, 10, 64)
	if err != nil || n <= 0 {
		return 0, forge.Refuse(op, f.subject(p.ID), "that is no number of a merge request", "")
	}
	return n, nil
}

// self is our own account.
func (f *Forge) self(ctx context.Context) (forge.Account, error) {
	return f.me.Get(func() (forge.Account, error) {
		u, _, err := f.client.Users.CurrentUser(api.WithContext(ctx))
		if err != nil {
			return forge.Account{}, err
		}
		return account(u.ID, u.Username), nil
	})
}

// account is a user of GitLab. Tokens of projects and groups have users of
// their own, whose names GitLab alone can give.
func account(id int64, name string) forge.Account {
	if id <= 0 {
		return forge.Account{}
	}
	bot := (strings.HasPrefix(name, "project_") || strings.HasPrefix(name, "group_")) && strings.Contains(name, "_bot")
	return forge.Account{ID: strconv.FormatInt(id, 10), Name: name, Bot: bot}
}

func user(u *api.BasicUser) forge.Account {
	if u == nil {
		return forge.Account{}
	}
	return account(u.ID, u.Username)
}

const perPage = 100

// pages reads a list of GitLab's to its end, or to where take has enough.
func pages[T any](take func(T) bool, list func(api.ListOptions) ([]T, *api.Response, error)) ([]T, error) {
	return forge.Pages(take, func(page int) ([]T, bool, error) {
		items, res, err := list(api.ListOptions{Page: int64(page), PerPage: perPage})
		return items, err == nil && res.NextPage > int64(page), err
	})
}

func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
