package github_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
	"github.com/aplomb-dev/aplomb/sources/forge/github"
	"github.com/aplomb-dev/aplomb/sources/forge/githubtest"
)

const repository = githubtest.Owner + "/" + githubtest.Name

// installed is a GitHub with an app, and a client that is it.
func installed(t *testing.T, number int64) (*githubtest.Server, string, forge.Forge) {
	t.Helper()
	s := githubtest.New()
	s.App = githubtest.NewApp(t)
	key := file(t, "key.pem", string(s.App.PEM))
	f, err := github.New(github.Config{
		URL: forgetest.NewFront(t, s).URL, Repository: repository, App: &github.App{ID: s.App.ID, Installation: number, KeyFile: key},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, key, f
}

func TestApp(t *testing.T) {
	for name, number := range map[string]int64{"named": 99, "found": 0} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, _, f := installed(t, number)
			p := forge.Proposal{ID: s.Propose(t, forgetest.Wish{By: forgetest.Ana, Branch: "topic", Title: "A change"})}
			for range 3 {
				if err := f.Comment(ctx, p, "prod", "one comment"); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.Comments(t, p.ID); len(got) != 1 || got[0].Author != s.App.Account() {
				t.Errorf("got %+v", got)
			}
			list, err := f.Comments(ctx, p, time.Time{})
			if err != nil || len(list) != 1 || !list[0].Ours || !list[0].Author.Bot {
				t.Errorf("got %+v, %v", list, err)
			}
			if n := s.App.Made(); n != 1 {
				t.Errorf("%d tokens were made", n)
			}
		})
	}
}

func TestAppRevoked(t *testing.T) {
	s, _, f := installed(t, 0)
	look := func() error { _, err := f.Proposals(t.Context(), forgetest.Main); return err }
	if err := look(); err != nil {
		t.Fatal(err)
	}
	s.App.Revoke()
	if err := look(); !errors.Is(err, forge.ErrDenied) {
		t.Errorf("with a token that was revoked: %v", err)
	}
	if err := look(); err != nil {
		t.Errorf("it was kept: %v", err)
	}
}

func TestAppTokenEndsEarly(t *testing.T) {
	s, _, f := installed(t, 0)
	s.App.Life = 4 * time.Minute
	for range 3 {
		if _, err := f.Proposals(t.Context(), forgetest.Main); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.App.Made(); n != 3 {
		t.Errorf("%d tokens were made: one about to end was used", n)
	}
}

func TestAppKey(t *testing.T) {
	s, key, f := installed(t, 0)
	look := func() error { _, err := f.Proposals(t.Context(), forgetest.Main); return err }
	good, other := string(s.App.PEM), string(githubtest.NewApp(t).PEM)
	for name, c := range map[string]struct {
		key    string
		denied bool
	}{"good": {good, false}, "of another app": {other, true}, "no key": {"x", true}, "empty": {"", true}, "good again": {good, false}} {
		if err := os.WriteFile(key, []byte(c.key), 0o600); err != nil {
			t.Fatal(err)
		}
		err := look()
		if c.denied != errors.Is(err, forge.ErrDenied) || !c.denied && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("the key is told: %v", err)
		}
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]github.Config{
		"no repository":      {TokenFile: "x"},
		"no owner":           {Repository: "/fleet", TokenFile: "x"},
		"too long a path":    {Repository: "a/b/c", TokenFile: "x"},
		"a path out":         {Repository: "a/..%2f", TokenFile: "x"},
		"no credentials":     {Repository: repository},
		"two credentials":    {Repository: repository, TokenFile: "x", App: &github.App{ID: "1", KeyFile: "y"}},
		"an app without key": {Repository: repository, App: &github.App{ID: "1"}},
		"plain http":         {Repository: repository, TokenFile: "x", URL: "http://github.example/api/v3"},
	} {
		if _, err := github.New(c); !errors.Is(err, forge.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := github.New(github.Config{Repository: repository, TokenFile: "x"}); err != nil {
		t.Error(err)
	}
}

// TestBudget: the last request of an hour is the last, without asking for one
// more. What is not modified costs nothing.
func TestBudget(t *testing.T) {
	ctx := t.Context()
	s := githubtest.New()
	front := forgetest.NewFront(t, s)
	f := connect(t, front.URL, githubtest.Token)
	s.LimitTo(2)
	began := time.Now()
	for i := range 2 {
		if _, err := f.Proposals(ctx, forgetest.Main); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	_, err := f.Proposals(ctx, forgetest.Main)
	if reads, _, _ := front.Counts(); reads != 2 || !errors.Is(err, forge.ErrLimited) {
		t.Errorf("%d requests, %v", reads, err)
	}
	if wait := forge.RetryAt(err).Sub(began); wait < 29*time.Minute || wait > 31*time.Minute {
		t.Errorf("ask again in %s", wait)
	}
}
