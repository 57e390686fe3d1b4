package nomad

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// Check implements drivers.Checker.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	handle, err := d.Address(kind, name, want.Spec)
	if err != nil {
		return err
	}
	p, err := placeOf(handle)
	if err != nil {
		return driverkit.Refuse("read", handle, err, "")
	}
	switch kind {
	case KindJob:
		return d.checkJob(p, want)
	case KindNamespace:
		return checkNamespace(p, want)
	default:
		return checkVariable(p, want)
	}
}

var variablePathRE = regexp.MustCompile(`^[A-Za-z0-9-_~/]{1,128}$`)

// maxVariable is the size in bytes of the largest variable that Nomad takes.
const maxVariable = 64 << 10

// checkVariable says what is wrong with a declaration of nomad.variable.
func checkVariable(p place, want drivers.Desired) error {
	var s struct{ Items map[string]json.RawMessage }
	if err := driverkit.Decode(&want, &s); err != nil {
		return driverkit.Refuse("read", p.handle(), err, "")
	}
	refuse := func(format string, args ...any) error {
		return driverkit.Refuse("read", p.handle(), fmt.Errorf(format, args...), "")
	}
	size := 0
	for k, v := range s.Items {
		size += len(k) + len(v)
	}
	_, taken := s.Items[Mark]
	switch {
	case !variablePathRE.MatchString(p.name), strings.HasPrefix(p.name, "/"), strings.HasSuffix(p.name, "/"):
		return refuse("%q is no path of a variable: letters, digits, - _ ~ /, at most 128", p.name)
	case p.name == "nomad" || strings.HasPrefix(p.name, "nomad/") && p.name != "nomad/jobs" && !strings.HasPrefix(p.name, "nomad/jobs/"):
		return refuse("paths below nomad/ are Nomad's own, but for nomad/jobs")
	case taken:
		return refuse("items: the key %s is aplomb's own", Mark)
	case size > maxVariable:
		return refuse("items: %d KiB, and Nomad takes %d", size>>10, maxVariable>>10)
	case len(s.Items) == 0:
		return refuse("items: Nomad takes no variable without items")
	}
	return nil
}

// Needs implements drivers.Needer: a namespace before what lives in it, and
// before a job the variables that Nomad lets it read.
func (d *Driver) Needs(kind, name string, want drivers.Desired) []string {
	handle, err := d.Address(kind, name, want.Spec)
	if err != nil {
		return nil
	}
	p, err := placeOf(handle)
	if err != nil || kind == KindNamespace {
		return nil
	}
	needs := []string{place{kind: KindNamespace, name: p.namespace}.handle()}
	if kind == KindJob {
		for _, path := range []string{"nomad/jobs", "nomad/jobs/" + p.name} {
			needs = append(needs, place{KindVariable, p.namespace, path}.handle())
		}
	}
	return needs
}
