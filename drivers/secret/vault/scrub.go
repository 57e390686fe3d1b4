package vault

import (
	"strings"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// longestText is how many bytes of what Vault says are told.
const longestText = 600

// scrub takes out of what Vault says the secrets that it was sent: its errors
// can echo input. Text in which part of one is left is not repeated at all.
func scrub(said string, secrets []schema.Secret) string {
	s := driverkit.NewScrubber(secrets...)
	said = s.Scrub(said)
	if s.Holds(said) {
		return "what it said is not repeated: it held part of a secret"
	}
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > longestText {
		said = strings.ToValidUTF8(said[:longestText], "") + "…"
	}
	return said
}
