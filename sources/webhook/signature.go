package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// A signature is the HMAC-SHA256 of the body, in hex; GitLab sends the secret
// itself.
const (
	hubSignature   = "X-Hub-Signature-256" // GitHub, and Gitea for those who know GitHub
	giteaSignature = "X-Gitea-Signature"
	gitlabToken    = "X-Gitlab-Token"
)

// signed says whether a call bears a signature at all.
func signed(f Forge, h http.Header) bool {
	switch f {
	case GitHub:
		return h.Get(hubSignature) != ""
	case GitLab:
		return h.Get(gitlabToken) != ""
	case Gitea:
		return h.Get(giteaSignature) != "" || h.Get(hubSignature) != ""
	}
	return false
}

// genuine says, in a time that tells nothing of the secret, whether the call
// was made by who knows it.
func genuine(f Forge, secret schema.Secret, h http.Header, body []byte) bool {
	if secret.Reveal() == "" {
		return false
	}
	switch f {
	case GitHub:
		return signs(h.Get(hubSignature), "sha256=", secret, body)
	case Gitea:
		if own := h.Get(giteaSignature); own != "" {
			return signs(own, "", secret, body)
		}
		return signs(h.Get(hubSignature), "sha256=", secret, body)
	case GitLab:
		// Hashes are of one length, whatever the token's.
		got, want := sha256.Sum256([]byte(h.Get(gitlabToken))), sha256.Sum256([]byte(secret.Reveal()))
		return subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
	return false
}

// signs says whether a header holds the signature of body.
func signs(header, prefix string, secret schema.Secret, body []byte) bool {
	text, ok := strings.CutPrefix(header, prefix)
	got, err := hex.DecodeString(text)
	if !ok || err != nil || len(got) != sha256.Size {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	_, _ = mac.Write(body) // never fails
	return hmac.Equal(got, mac.Sum(nil))
}

// delivery is the id of a call, empty where it has none. It is not signed: it
// saves looks, and guards nothing.
func delivery(f Forge, h http.Header) string {
	switch f {
	case GitHub:
		return h.Get("X-GitHub-Delivery")
	case GitLab:
		if id := h.Get("Idempotency-Key"); id != "" {
			return id
		}
		return h.Get("X-Gitlab-Event-UUID")
	}
	return h.Get("X-Gitea-Delivery")
}

// events are those after which something may have to be done.
var events = map[Forge]map[string]bool{
	GitHub: {
		"push": true, "create": true, "delete": true, "pull_request": true, "pull_request_review": true, "issue_comment": true,
	},
	GitLab: {"Push Hook": true, "Tag Push Hook": true, "Merge Request Hook": true, "Note Hook": true},
	Gitea: {
		"push": true, "create": true, "delete": true, "pull_request": true, "pull_request_sync": true, "pull_request_approved": true,
		"pull_request_rejected": true, "pull_request_comment": true, "pull_request_review_approved": true, "pull_request_review_rejected": true,
		"pull_request_review_comment": true, "issue_comment": true,
	},
}

func relevant(f Forge, h http.Header) bool {
	name := map[Forge]string{GitHub: "X-GitHub-Event", GitLab: "X-Gitlab-Event", Gitea: "X-Gitea-Event"}[f]
	return events[f][h.Get(name)]
}
