package vault

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

const (
	fragment    = 6   // characters of a secret in a row that are too much of it
	longestText = 600 // of what Vault says
)

// scrub takes out of what Vault says the secrets that it was sent: its errors
// can echo input. Text in which part of one is left is not repeated at all.
func scrub(said string, secrets []schema.Secret) string {
	for _, s := range secrets {
		plain := s.Reveal()
		if plain == "" {
			continue
		}
		for _, form := range forms(plain) {
			said = strings.ReplaceAll(said, form, schema.Redacted)
		}
		if holdsPart(said, plain) {
			return "what it said is not repeated: it held part of a secret"
		}
	}
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > longestText {
		said = strings.ToValidUTF8(said[:longestText], "") + "…"
	}
	return said
}

// forms are the encodings in which an error may repeat a text.
func forms(plain string) []string {
	quoted, _ := json.Marshal(plain) // a string always marshals
	all := []string{
		plain, strings.Trim(string(quoted), `"`), strings.Trim(strconv.Quote(plain), `"`), url.QueryEscape(plain), url.PathEscape(plain),
		hex.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(plain)), base64.RawURLEncoding.EncodeToString([]byte(plain)),
		url.UserPassword("", plain).String()[1:],
	}
	return all
}

// holdsPart says whether some characters in a row of a secret are left.
func holdsPart(said, plain string) bool {
	said = strings.ReplaceAll(said, schema.Redacted, "\x00")
	if len(plain) <= fragment {
		return strings.Contains(said, plain)
	}
	for i := range len(plain) - fragment + 1 {
		if strings.Contains(said, plain[i:i+fragment]) {
			return true
		}
	}
	return false
}
