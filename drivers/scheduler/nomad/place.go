package nomad

import (
	"errors"
	"strings"
)

// place is where a thing of a kind lives; namespaces lie in none.
type place struct{ kind, namespace, name string }

var prefixes = map[string]string{KindJob: "job/", KindNamespace: "namespace/", KindVariable: "variable/"}

var errNoHandle = errors.New("that is no address of Nomad's driver")

// handle is job/NAMESPACE/ID, variable/NAMESPACE/PATH or namespace/NAME.
func (p place) handle() string {
	if p.kind == KindNamespace {
		return prefixes[p.kind] + p.name
	}
	return prefixes[p.kind] + p.namespace + "/" + p.name
}

// placeOf is the inverse of handle.
func placeOf(handle string) (place, error) {
	for kind, prefix := range prefixes {
		rest, ok := strings.CutPrefix(handle, prefix)
		if !ok {
			continue
		}
		p := place{kind: kind, name: rest}
		if kind != KindNamespace {
			if p.namespace, p.name, ok = strings.Cut(rest, "/"); !ok || p.namespace == "" {
				return place{}, errNoHandle
			}
		}
		if p.name == "" || strings.ContainsRune(p.name, 0) {
			return place{}, errNoHandle
		}
		return p, nil
	}
	return place{}, errNoHandle
}
