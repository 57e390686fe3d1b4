// Package gitea is Gitea, and what speaks its API, as a forge.Forge. It must
// not know what is written in comments and statuses, nor who has to agree to
// what.
//
// In reading order: Config and Forge, proposals.go, reviews.go (who said what,
// and who is who), write.go.
package gitea

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	api "code.gitea.io/sdk/gitea"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Config says which repository, and who we are.
type Config struct {
	URL        string        // of the server, with the path below which it is served; without /api/v1
	Repository string        // "owner/name"
	TokenFile  string        // an access token
	CAFile     string        // authorities beside the system's
	Timeout    time.Duration // of a request; 0: 30 s
}

// Forge is one repository on a Gitea.
type Forge struct {
	owner, name string
	url         string
	http        *http.Client

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
	if c.TokenFile == "" {
		return nil, forge.Refuse(op, c.Repository, "a token is needed", "set tokenFile")
	}
	client, err := forge.Server{URL: c.URL, CAFile: c.CAFile, Timeout: c.Timeout, Credential: forge.TokenFile(c.TokenFile)}.Client()
	if err != nil {
		return nil, err
	}
	return &Forge{owner: owner, name: name, url: strings.TrimRight(c.URL, "/"), http: client}, nil
}

// client is Gitea's own client over our transport, which judges every error.
// It is one for each call, since it takes its context when it is made; it asks
// no version, which servers with a login of their own hide.
func (f *Forge) client(ctx context.Context) (*api.Client, error) {
	return api.NewClient(f.url, api.SetHTTPClient(f.http), api.SetContext(ctx), api.SetGiteaVersion(""))
}

// Limits: Gitea has none of its own; ours keep pages readable.
func (f *Forge) Limits() forge.Limits {
	return forge.Limits{Comment: 65536, Description: 255, Context: 255}
}

// File implements forge.Forge.
func (f *Forge) File(at, path string, line int) string {
	kind := "branch"
	if forge.IsCommit(at) {
		kind = "commit"
	}
	return forge.FileURL(f.url+"/"+f.owner+"/"+f.name+"/src/"+kind, at, path, line)
}

// subject names the repository, or what of it, in errors.
func (f *Forge) subject(of ...string) string {
	return strings.Join(append([]string{f.owner + "/" + f.name}, of...), "#")
}

// number is a proposal's ID for the API.
func (f *Forge) number(op string, p forge.Proposal) (int64, error) {
	n, err := strconv.ParseInt(p.ID, 10, 64)
	if err != nil || n <= 0 {
		return 0, forge.Refuse(op, f.subject(p.ID), "that is no number of a pull request", "")
	}
	return n, nil
}

// self is our own account.
func (f *Forge) self(c *api.Client) (forge.Account, error) {
	return f.me.Get(func() (forge.Account, error) {
		u, _, err := c.GetMyUserInfo()
		return account(u), err
	})
}

// account is a user of Gitea. What replaces a deleted one has a negative id.
func account(u *api.User) forge.Account {
	if u == nil || u.ID <= 0 {
		return forge.Account{}
	}
	return forge.Account{ID: strconv.FormatInt(u.ID, 10), Name: u.UserName}
}

// perPage is what a Gitea grants unless it is configured otherwise.
const perPage = 50

// pages reads a list of Gitea's to its end. A server may grant less to a page
// than is asked for, and some lists come whole: the total tells.
func pages[T any](list func(api.ListOptions) ([]T, *api.Response, error)) ([]T, error) {
	seen := 0
	return forge.Pages(nil, func(page int) ([]T, bool, error) {
		items, res, err := list(api.ListOptions{Page: page, PageSize: perPage})
		if err != nil {
			return nil, false, err
		}
		seen += len(items)
		total, err := strconv.Atoi(res.Header.Get("X-Total-Count"))
		if err != nil {
			return items, len(items) >= perPage, nil
		}
		return items, seen < total, nil
	})
}
