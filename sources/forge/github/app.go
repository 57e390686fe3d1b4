package github

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	api "github.com/google/go-github/v89/github"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// App is a GitHub App that is installed where the repository lies.
type App struct {
	ID           string // of the app, or its client id
	Installation int64  // 0: the one that the repository is part of
	KeyFile      string // its private key, PEM; read at each use
}

// early is how long before its end a token of an installation is let go: longer
// than any request takes, and than clocks differ.
const early = 5 * time.Minute

// appToken makes tokens of an installation, for this one repository. They live
// an hour; one is kept until shortly before that.
type appToken struct {
	owner, name string
	installed   int64
	client      *api.Client // speaks as the app itself
	key         *appKey

	mu    sync.Mutex // held while a token is fetched: one is enough for all
	token schema.Secret
	until time.Time
	with  string // the key that it was made with
}

var (
	_ forge.Credential = (*appToken)(nil)
	_ forge.Rejectable = (*appToken)(nil)
)

func newAppToken(a App, server forge.Server, owner, name string) (*appToken, error) {
	if a.ID == "" || a.KeyFile == "" || a.Installation < 0 {
		return nil, forge.Refuse("use the app", a.ID, "an app has an id and a key's file", "set app.id and app.keyFile")
	}
	t := &appToken{owner: owner, name: name, installed: a.Installation, key: &appKey{id: a.ID, file: a.KeyFile}}
	server.Credential = t.key
	var err error
	t.client, err = dial(server)
	return t, err
}

// Token is the token that is kept, or a new one.
func (t *appToken) Token(ctx context.Context) (schema.Secret, error) {
	key, err := forge.ReadSmall(t.key.file)
	if err != nil {
		return schema.Secret{}, &forge.Error{Class: forge.ErrDenied, Err: fmt.Errorf("read the app's key: %w", err)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.with == key && time.Now().Before(t.until) {
		return t.token, nil
	}
	made, err := t.fetch(ctx)
	if err != nil {
		return schema.Secret{}, forge.Fail("get a token of the app for", t.owner+"/"+t.name, err)
	}
	if made.GetToken() == "" {
		return schema.Secret{}, &forge.Error{Class: forge.ErrDenied, Err: errors.New("GitHub gave the app no token")}
	}
	t.token, t.until, t.with = schema.NewSecret(made.GetToken()), made.GetExpiresAt().Add(-early), key
	return t.token, nil
}

func (t *appToken) fetch(ctx context.Context) (*api.InstallationToken, error) {
	id := t.installed
	if id == 0 {
		in, _, err := t.client.Apps.GetRepositoryInstallation(ctx, t.owner, t.name)
		if err != nil {
			return nil, err
		}
		id = in.GetID()
	}
	made, _, err := t.client.Apps.CreateInstallationToken(ctx, id, &api.InstallationTokenOptions{Repositories: []string{t.name}})
	return made, err
}

// Rejected lets the token go that the server no longer takes.
func (t *appToken) Rejected(token schema.Secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Reveal() == token.Reveal() {
		t.token, t.until = schema.Secret{}, time.Time{}
	}
}

// account is the one under which an app comments. installed speaks with a token
// of the installation: as itself an app may ask about itself only.
func (t *appToken) account(ctx context.Context, installed *api.Client) (forge.Account, error) {
	app, _, err := t.client.Apps.Get(ctx, "")
	if err != nil {
		return forge.Account{}, err
	}
	u, _, err := installed.Users.Get(ctx, app.GetSlug()+"[bot]")
	return account(u), err
}

// appKey proves that we are the app, by a JWT of some minutes.
type appKey struct{ id, file string }

var _ forge.Credential = (*appKey)(nil)

// Token signs a new one each time: that is cheap, and rare.
func (k *appKey) Token(context.Context) (schema.Secret, error) {
	pem, err := forge.ReadSmall(k.file)
	if err != nil {
		return schema.Secret{}, &forge.Error{Class: forge.ErrDenied, Err: fmt.Errorf("read the app's key: %w", err)}
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(pem))
	if err != nil {
		return schema.Secret{}, &forge.Error{Class: forge.ErrDenied, Err: fmt.Errorf("read the app's key: %s holds no RSA key in PEM", k.file)}
	}
	now := time.Now()
	claims := jwt.RegisteredClaims{
		Issuer:    k.id,
		IssuedAt:  jwt.NewNumericDate(now.Add(-time.Minute)), // their clock may be behind
		ExpiresAt: jwt.NewNumericDate(now.Add(8 * time.Minute)),
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
	if err != nil {
		return schema.Secret{}, &forge.Error{Class: forge.ErrDenied, Err: errors.New("sign with the app's key")}
	}
	return schema.NewSecret(signed), nil
}
