package schema

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// APIVersion is the only value of apiVersion that declarations may have.
const APIVersion = "aplomb.dev/v1"

var (
	nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	kindRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[a-z][a-z0-9-]*)?$`)
)

// ID names one resource of an environment. The stored identity is always the
// whole of it; screens leave out what is unambiguous. The zero Target means
// "not said", which graph resolution fills in before anything is stored.
type ID struct {
	Kind   string // "nomad.job"; a kind without a dot is a template
	Name   string // see ValidName
	Target string // name of the configured engine that it lives in
}

// ValidName says whether s may be the metadata.name of a resource or the name
// of a target: lower-case letters, digits and inner hyphens, at most 63 bytes.
func ValidName(s string) bool { return nameRE.MatchString(s) }

// ValidKind says whether s has the shape of a kind; it need not exist.
func ValidKind(s string) bool { return len(s) <= 128 && kindRE.MatchString(s) }

// ParseID reads kind/name or kind/name@target.
func ParseID(s string) (ID, error) {
	kind, rest, ok := strings.Cut(s, "/")
	if !ok {
		return ID{}, fmt.Errorf("%q is not kind/name or kind/name@target", clip(s))
	}
	name, target, has := strings.Cut(rest, "@")
	switch {
	case !ValidKind(kind):
		return ID{}, fmt.Errorf("%q: %q is not a kind", clip(s), clip(kind))
	case !ValidName(name):
		return ID{}, fmt.Errorf("%q: %q is not a name (lower-case letters, digits and inner hyphens, at most 63)", clip(s), clip(name))
	case has && !ValidName(target):
		return ID{}, fmt.Errorf("%q: %q is not the name of a target", clip(s), clip(target))
	}
	return ID{Kind: kind, Name: name, Target: target}, nil
}

// String is the inverse of ParseID.
func (id ID) String() string {
	if id.Target == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Name + "@" + id.Target
}

// Short is the identity without its target.
func (id ID) Short() string { return id.Kind + "/" + id.Name }

// Compare orders by kind, name, target.
func (id ID) Compare(o ID) int {
	return cmp.Or(strings.Compare(id.Kind, o.Kind), strings.Compare(id.Name, o.Name), strings.Compare(id.Target, o.Target))
}

// Matches says whether want, whose target may be left out, names id.
func (id ID) Matches(want ID) bool {
	return id.Kind == want.Kind && id.Name == want.Name && (want.Target == "" || want.Target == id.Target)
}

// MarshalText makes an ID a JSON string and a JSON object's key.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText; the zero ID is the empty text.
func (id *ID) UnmarshalText(b []byte) error {
	if string(b) == "" || string(b) == "/" {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	if err == nil {
		*id = v
	}
	return err
}

// clip bounds what an error repeats of its input.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
