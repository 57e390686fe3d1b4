// Package github is GitHub, the public one and Enterprise Server, as a
// forge.Forge: by REST, with a token or as a GitHub App. It must not know what
// is written in comments and statuses, nor who has to agree to what.
//
// In reading order: Config and Forge, proposals.go, reviews.go (who said what,
// and who is who), write.go, app.go.
package github

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	api "github.com/google/go-github/v89/github"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// PublicURL is the API of github.com.
const PublicURL = "https://api.github.com"

// Config says which repository, and who we are. Either TokenFile or App.
type Config struct {
	URL        string // of the API; empty: PublicURL. Enterprise Server: https://HOST/api/v3
	Repository string // "owner/name"
	TokenFile  string // a personal token, fine-grained or classic, or one of a machine
	App        *App
	CAFile     string        // authorities beside the system's
	Timeout    time.Duration // of a request; 0: 30 s
}

// Forge is one repository on GitHub.
type Forge struct {
	owner, name string
	web         string // where people see the repository
	client      *api.Client
	app         *appToken // nil: a token

	writing sync.Mutex // from looking for our comment or status to writing it
	me      forge.Memo[forge.Account]
}

var _ forge.Forge = (*Forge)(nil)

// New asks nobody yet.
func New(c Config) (*Forge, error) {
	const op = "use the repository"
	owner, name, ok := strings.Cut(c.Repository, "/")
	if !ok || owner == "" || name == "" || strings.ContainsAny(c.Repository, "?#%\\ ") || strings.Contains(name, "/") {
		return nil, forge.Refuse(op, c.Repository, "it is not of the form owner/name", "")
	}
	if (c.TokenFile == "") == (c.App == nil) {
		return nil, forge.Refuse(op, c.Repository, "either a token or an app is needed", "set tokenFile, or app")
	}
	f := &Forge{owner: owner, name: name}
	if c.URL == "" {
		c.URL = PublicURL
	}
	server := forge.Server{URL: c.URL, CAFile: c.CAFile, Timeout: c.Timeout, Credential: forge.TokenFile(c.TokenFile)}
	if c.App != nil {
		var err error
		if f.app, err = newAppToken(*c.App, server, owner, name); err != nil {
			return nil, err
		}
		server.Credential = f.app
	}
	f.web = webOf(c.URL) + "/" + c.Repository
	var err error
	f.client, err = dial(server)
	return f, err
}

// webOf is where people find the server whose API is at url: Enterprise Server
// has it below its own address.
func webOf(url string) string {
	url = strings.TrimRight(url, "/")
	if url == PublicURL {
		return "https://github.com"
	}
	return strings.TrimSuffix(url, "/api/v3")
}

// dial is GitHub's own client over our transport, which knows the limits, and
// judges every error.
func dial(s forge.Server) (*api.Client, error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	at := strings.TrimRight(s.URL, "/") + "/"
	return api.NewClient(api.WithHTTPClient(client), api.WithURLs(&at, nil), api.WithDisableRateLimitCheck())
}

// Limits are GitHub's own.
func (f *Forge) Limits() forge.Limits {
	return forge.Limits{Comment: 65536, Description: 140, Context: 255}
}

// File implements forge.Forge.
func (f *Forge) File(at, path string, line int) string {
	return forge.FileURL(f.web+"/blob", at, path, line)
}

// subject names the repository, or what of it, in errors.
func (f *Forge) subject(of ...string) string {
	return strings.Join(append([]string{f.owner + "/" + f.name}, of...), "#")
}

// number is a proposal's ID for the API.
func (f *Forge) number(op string, p forge.Proposal) (int, error) {
	n, err := strconv.Atoi(p.ID)
	if err != nil || n <= 0 {
		return 0, forge.Refuse(op, f.subject(p.ID), "that is no number of a pull request", "")
	}
	return n, nil
}

// self is our own account.
func (f *Forge) self(ctx context.Context) (forge.Account, error) {
	return f.me.Get(func() (forge.Account, error) {
		if f.app != nil {
			return f.app.account(ctx, f.client)
		}
		u, _, err := f.client.Users.Get(ctx, "")
		return account(u), err
	})
}

// account is a user of GitHub; one that was deleted has no name.
func account(u *api.User) forge.Account {
	if u == nil {
		return forge.Account{}
	}
	return forge.Account{ID: strconv.FormatInt(u.GetID(), 10), Name: u.GetLogin(), Bot: u.GetType() == "Bot"}
}

const perPage = 100

// pages reads a list of GitHub's to its end, or to where take has enough.
func pages[T any](take func(T) bool, list func(api.ListOptions) ([]T, *api.Response, error)) ([]T, error) {
	return forge.Pages(take, func(page int) ([]T, bool, error) {
		items, res, err := list(api.ListOptions{Page: page, PerPage: perPage})
		return items, err == nil && res.NextPage > page, err
	})
}
