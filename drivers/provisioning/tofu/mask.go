package tofu

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// masker puts tokens in the place of what a plan marks as sensitive, and keeps
// in memory what it took out, for the scrubber.
type masker struct {
	fingerprint drivers.Fingerprinter
	tokens      map[string]string // of the values of secret variables: as the spec has them
	secrets     []schema.Secret
}

// maxValue bounds a value in a delta; of a longer one its length and
// fingerprint are told.
const maxValue = 4 << 10

// mask is v without what sensitive says: true of a whole, or a tree of the
// same form.
func (m *masker) mask(v, sensitive any) any {
	switch s := sensitive.(type) {
	case bool:
		if s && v != nil {
			return m.token(v)
		}
	case map[string]any:
		if have, ok := v.(map[string]any); ok {
			out := map[string]any{}
			for k, e := range have {
				out[k] = m.mask(e, s[k])
			}
			return m.short(out)
		}
	case []any:
		if have, ok := v.([]any); ok {
			out := make([]any, len(have))
			for i, e := range have {
				var mark any
				if i < len(s) {
					mark = s[i]
				}
				out[i] = m.mask(e, mark)
			}
			return m.short(out)
		}
	}
	return m.short(honest(v))
}

// honest is v where no text of it could be taken for a token: somebody could
// hide from a reviewer whatever stands behind it.
func honest(v any) any {
	switch x := v.(type) {
	case string:
		if schema.ForgesToken(x) {
			return strings.ReplaceAll(x, "[secret:", "[secret :")
		}
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			out[k] = honest(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = honest(e)
		}
		return out
	}
	return v
}

// short bounds each value of an object, or a value that is none.
func (m *masker) short(v any) any {
	if o, ok := v.(map[string]any); ok {
		for k, e := range o {
			o[k] = m.short(e)
		}
		return o
	}
	text, err := driverkit.Text(v)
	if err != nil || len(text) <= maxValue {
		return v
	}
	return fmt.Sprintf("(%d bytes, %.16s)", len(text), m.fingerprint(text))
}

// token stands for one sensitive value.
func (m *masker) token(v any) string {
	m.keep(v)
	if s, ok := v.(string); ok {
		if t := m.tokens[s]; t != "" {
			return t
		}
		if s == known {
			return s
		}
	}
	return schema.Token(m.fingerprint(plaintext(v)))
}

// plaintext is what a secret output's fingerprint is of, and what Reveal
// answers: a string as it is, anything else as JSON.
func plaintext(v any) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	text, err := driverkit.Text(v)
	if err != nil { // it was decoded
		return nil
	}
	return text
}

// keep remembers the strings of a sensitive value.
func (m *masker) keep(v any) {
	const shortest = 4 // a shorter one is in too many words
	switch x := v.(type) {
	case string:
		if len(x) >= shortest && x != known && !schema.HasToken(x) {
			m.secrets = append(m.secrets, schema.NewSecret(x))
		}
	case map[string]any:
		for _, e := range x {
			m.keep(e)
		}
	case []any:
		for _, e := range x {
			m.keep(e)
		}
	}
}

// hide keeps what is sensitive of a value that is not shown.
func (m *masker) hide(v, sensitive any) { _ = m.mask(v, sensitive) }

// overlay puts known where the tool does not know a value yet.
func overlay(v, unknown any) any {
	switch u := unknown.(type) {
	case bool:
		if u {
			return known
		}
	case map[string]any:
		have, isMap := v.(map[string]any)
		if !isMap && v != nil {
			return v
		}
		out := map[string]any{}
		for k, e := range have {
			out[k] = e
		}
		for k, e := range u {
			if w := overlay(out[k], e); w != nil {
				out[k] = w
			}
		}
		if !isMap && len(out) == 0 {
			return v
		}
		return out
	case []any:
		have, ok := v.([]any)
		if !ok {
			return v
		}
		out := append([]any(nil), have...)
		for i, e := range u {
			if i < len(out) {
				out[i] = overlay(out[i], e)
			}
		}
		return out
	}
	return v
}

// unknownIn says whether anything within is not known yet.
func unknownIn(unknown any) bool {
	switch u := unknown.(type) {
	case bool:
		return u
	case map[string]any:
		for _, e := range u {
			if unknownIn(e) {
				return true
			}
		}
	case []any:
		for _, e := range u {
			if unknownIn(e) {
				return true
			}
		}
	}
	return false
}

// outputOf is an output as State and Change tell it.
func outputOf(value json.RawMessage, secret bool, fingerprint drivers.Fingerprinter) (drivers.Output, error) {
	tree, err := driverkit.Tree(value)
	if err != nil {
		return drivers.Output{}, err
	}
	if secret {
		return drivers.Output{Secret: true, Fingerprint: fingerprint(plaintext(tree))}, nil
	}
	text, err := driverkit.Text(tree)
	return drivers.Output{Value: text}, err
}
