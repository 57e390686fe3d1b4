package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/sources/webhook"
)

// A forge that calls is heard where the repository is followed under another
// name than its own, such as a mirror's.
func TestCalled(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	for _, c := range []struct {
		forge config.Forge
		page  string
		want  int
	}{
		{config.Forge{Kind: "gitea", URL: "https://git.example.org/", Repository: "ops/fleet"}, "https://git.example.org/ops/fleet", 1},
		{config.Forge{Kind: "gitea", URL: "https://git.example.org", Repository: "ops/fleet"}, "https://git.example.org/ops/other", 0},
		{config.Forge{Kind: "github", Repository: "ops/fleet"}, "https://github.com/ops/fleet", 1},
		{config.Forge{Kind: "github", Repository: "ops/fleet"}, "https://mirror.example.org/fleet", 1},
	} {
		kicks := 0
		e := config.Environment{Source: config.Source{Git: "https://mirror.example.org/fleet.git"}, Forge: &c.forge}
		h := &webhook.Hook{Forge: webhook.Gitea, SecretFile: secret, Repositories: called(e), Log: log, Kick: func(string) { kicks++ }}
		body := `{"repository":{"html_url":"` + c.page + `"}}`
		mac := hmac.New(sha256.New, []byte("s"))
		mac.Write([]byte(body))
		r := httptest.NewRequest(http.MethodPost, "/hooks/prod", strings.NewReader(body))
		r.Header.Set("X-Gitea-Event", "push")
		r.Header.Set("X-Gitea-Signature", hex.EncodeToString(mac.Sum(nil)))
		h.ServeHTTP(httptest.NewRecorder(), r)
		if kicks != c.want {
			t.Errorf("%s of %s: %d looks", c.page, c.forge.Kind, kicks)
		}
	}
}
