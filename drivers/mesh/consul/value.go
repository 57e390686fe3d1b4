package consul

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// MaxValue is the size in bytes of the largest value of a key, as Consul has it
// where kv_max_value_size is not set.
const MaxValue = 512 << 10

// value is a declared value of a key.
type value struct {
	words   map[string]any // that say it
	bytes   []byte         // nothing while a part of it is unknown
	unknown map[schema.Path]string
}

// valueWords are the words for a value: JSON where it is an object or a list
// written as aplomb writes it, so that a difference names its fields; else text;
// else base64. They follow from the bytes alone.
func valueWords(b []byte) map[string]any {
	if len(b) > 0 && (b[0] == '{' || b[0] == '[') {
		tree, err := driverkit.Tree(b)
		if text, bad := driverkit.Text(tree); err == nil && bad == nil && bytes.Equal(text, b) {
			return map[string]any{"JSON": tree}
		}
	}
	if utf8.Valid(b) {
		return map[string]any{"Value": string(b)}
	}
	return map[string]any{"Base64": base64.StdEncoding.EncodeToString(b)}
}

type valueSpec struct {
	Value  *string         `json:"Value"`
	JSON   json.RawMessage `json:"JSON"`
	Base64 *string         `json:"Base64"`
	File   string          `json:"File"`
}

// declaredValue reads the value of a declaration.
func declaredValue(handle string, want *drivers.Desired) (value, error) {
	var s valueSpec
	if err := json.Unmarshal(want.Spec, &s); err != nil {
		return value{}, driverkit.Refuse("read", handle, err, "")
	}
	refuse := func(err error) (value, error) { return value{}, driverkit.Refuse("read", handle, err, "") }
	var b []byte
	var err error
	switch {
	case len(want.Unknown) > 0:
		return s.notYet(handle, want.Unknown)
	case s.Value != nil:
		b = []byte(*s.Value)
	case s.JSON != nil:
		b, err = canonicalJSON(s.JSON)
	case s.Base64 != nil:
		if b, err = base64.StdEncoding.DecodeString(*s.Base64); err != nil {
			err = errors.New("Base64 is not base64")
		}
	case s.File != "":
		f, has := want.Files.Get(s.File)
		if !has {
			return refuse(fmt.Errorf("the file %s is not there", s.File))
		}
		b = f.Data
	default:
		err = errors.New("it has no value")
	}
	if err == nil && len(b) > MaxValue {
		err = fmt.Errorf("the value has %d bytes, and Consul takes %d", len(b), MaxValue)
	}
	if err != nil {
		return refuse(err)
	}
	return value{words: valueWords(b), bytes: b}, nil
}

// notYet are the words of a value with references that are not known.
func (s valueSpec) notYet(handle string, unknown map[schema.Path]string) (value, error) {
	v := value{words: map[string]any{}, unknown: unknown}
	switch {
	case s.Value != nil:
		v.words["Value"] = *s.Value
	case s.Base64 != nil:
		v.words["Base64"] = *s.Base64
	case s.JSON != nil:
		tree, err := driverkit.Tree(s.JSON)
		if err != nil {
			return v, driverkit.Refuse("read", handle, err, "")
		}
		v.words["JSON"] = tree
	}
	return v, nil
}

func canonicalJSON(text json.RawMessage) ([]byte, error) {
	tree, err := driverkit.Tree(text)
	if err != nil {
		return nil, err
	}
	return driverkit.Text(tree)
}
