package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
)

// App is a GitHub App that is installed in the repository.
type App struct {
	ID           string
	Installation int64
	PEM          []byte        // its private key
	Life         time.Duration // of the tokens that it is given

	key *rsa.PrivateKey

	mu     sync.Mutex
	tokens map[string]time.Time
	made   int
}

// NewApp makes an app with a key.
func NewApp(t testing.TB) *App {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return &App{ID: "4711", Installation: 99, PEM: pem.EncodeToMemory(block), key: key, Life: time.Hour, tokens: map[string]time.Time{}}
}

// Account is under what the app comments.
func (*App) Account() forge.Account { return forge.Account{ID: "900", Name: "aplomb[bot]", Bot: true} }

// Made is how many tokens were given.
func (a *App) Made() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made
}

// Revoke ends all tokens.
func (a *App) Revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tokens)
}

func (a *App) valid(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.tokens[token])
}

// verify checks a JWT as GitHub does: RS256, by the app, of ten minutes at most.
func (a *App) verify(token string) error {
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return &a.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(a.ID), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	if err == nil && claims.ExpiresAt.Sub(claims.IssuedAt.Time) > 10*time.Minute {
		err = errors.New("it lives longer than ten minutes")
	}
	return err
}

func (s *Server) app(w http.ResponseWriter, r *http.Request) {
	forgetest.Reply(w, r, http.StatusOK, forgetest.JSON{"id": 4711, "slug": "aplomb", "name": "aplomb"})
}

func (s *Server) installation(w http.ResponseWriter, r *http.Request) {
	if ours(w, r) {
		forgetest.Reply(w, r, http.StatusOK, forgetest.JSON{"id": s.App.Installation, "app_slug": "aplomb"})
	}
}

func (s *Server) accessToken(w http.ResponseWriter, r *http.Request) {
	v, err := forgetest.Read(r)
	repos, _ := v["repositories"].([]any)
	if err != nil || r.PathValue("installation") != strconv.FormatInt(s.App.Installation, 10) || len(repos) != 1 || repos[0] != Name {
		deny(w, r, http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
		return
	}
	s.App.mu.Lock()
	defer s.App.mu.Unlock()
	s.App.made++
	token, until := fmt.Sprintf("ghs_example%d", s.App.made), time.Now().Add(s.App.Life)
	s.App.tokens[token] = until
	forgetest.Reply(w, r, http.StatusCreated, forgetest.JSON{"token": token, "expires_at": forgetest.Stamp(until)})
}
