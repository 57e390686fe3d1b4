package schema

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// Redacted is what stands, everywhere, for a value that must not be shown.
const Redacted = "[redacted]"

// Secret is a value that passes through memory only. It prints as Redacted in
// every format, and refuses to be marshalled: Reveal is the only way out, and
// easy to search for. The plaintext stands behind a pointer, so that fmt finds
// an address where it does not ask the value itself: inside unexported fields,
// and for %p.
type Secret struct{ value *string }

// NewSecret wraps a plaintext.
func NewSecret(plaintext string) Secret { return Secret{&plaintext} }

// Reveal is the plaintext; "" of the zero Secret. Whoever calls it answers for
// where it goes.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String is Redacted.
func (Secret) String() string { return Redacted }

// GoString is Redacted.
func (Secret) GoString() string { return Redacted }

// Format prints Redacted whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue is Redacted.
func (Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

var errSecret = errors.New("a secret refuses to be marshalled")

// MarshalJSON always fails.
func (Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalText always fails.
func (Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalYAML always fails.
func (Secret) MarshalYAML() (any, error) { return nil, errSecret }

// GobEncode always fails.
func (Secret) GobEncode() ([]byte, error) { return nil, errSecret }

// Token stands for a secret inside a spec: it changes when the secret does,
// and tells nothing else. The fingerprint is the change token of
// drivers.Output.
func Token(fingerprint string) string { return tokenMark + fingerprint + "]" }

// tokenMark begins every Token. What is declared may not hold it, nor may an
// output: somebody could hide from a reviewer whatever stands behind it.
const tokenMark = "[secret:"

// ForgesToken says whether a text that is no Token could be taken for one.
func ForgesToken(s string) bool { return strings.Contains(s, tokenMark) }

// tokenRE holds to the letters of fingerprints, so that no Token spans a line
// or a word.
var tokenRE = regexp.MustCompile(`\[secret:[A-Za-z0-9._/#:@+=-]{1,256}\]`)

// Mask replaces every Token in s by Redacted, for screens.
func Mask(s string) string { return tokenRE.ReplaceAllLiteralString(s, Redacted) }

// HasToken says whether s holds a Token.
func HasToken(s string) bool { return tokenRE.MatchString(s) }
