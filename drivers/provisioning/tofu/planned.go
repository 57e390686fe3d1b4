package tofu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// planJSON is all that is read of show -json of a saved plan.
type planJSON struct {
	ResourceChanges []resourceJSON        `json:"resource_changes"`
	OutputChanges   map[string]changeJSON `json:"output_changes"`
	ResourceDrift   []resourceJSON        `json:"resource_drift"`
	Checks          []checkJSON           `json:"checks"`
	Errored         bool                  `json:"errored"`
}

type resourceJSON struct {
	Address  string     `json:"address"`
	Previous string     `json:"previous_address"`
	Deposed  string     `json:"deposed"`
	Mode     string     `json:"mode"`
	Change   changeJSON `json:"change"`
}

type changeJSON struct {
	Actions         []string        `json:"actions"`
	Before          any             `json:"before"`
	After           any             `json:"after"`
	AfterUnknown    any             `json:"after_unknown"`
	BeforeSensitive any             `json:"before_sensitive"`
	AfterSensitive  any             `json:"after_sensitive"`
	Importing       json.RawMessage `json:"importing"`
}

type checkJSON struct {
	Address struct {
		Display string `json:"to_display"`
	} `json:"address"`
	Status    string `json:"status"`
	Instances []struct {
		Problems []struct {
			Message string `json:"message"`
		} `json:"problems"`
	} `json:"instances"`
}

// parsePlan reads show -json.
func parsePlan(data []byte) (*planJSON, error) {
	var p planJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("read the plan as JSON: %w", err)
	}
	return &p, nil
}

// crowded says whether JSON has more values than most, without reading it: each
// one but the first in an object or a list begins behind a comma.
func crowded(data []byte, most int) bool {
	quoted, n := false, 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '[' || c == '{' || c == ','):
			n++
		}
	}
	return n > most
}

// failedChecks are the messages of what is checked and does not hold.
func failedChecks(all []checkJSON) []string {
	var failed []string
	for _, c := range all {
		if c.Status != "fail" && c.Status != "error" {
			continue
		}
		said := false
		for _, i := range c.Instances {
			for _, p := range i.Problems {
				failed, said = append(failed, c.Address.Display+": "+p.Message), true
			}
		}
		if !said {
			failed = append(failed, c.Address.Display+": "+c.Status)
		}
	}
	return failed
}

// effect is what a change's actions come to: "" for nothing.
func (r *resourceJSON) effect() schema.Action {
	a := r.Change.Actions
	switch {
	case r.Mode == "data":
		return ""
	case slices.Contains(a, "delete") && slices.Contains(a, "create"):
		return schema.Replace
	case slices.Contains(a, "delete"):
		return schema.Delete
	case slices.Contains(a, "create"):
		return schema.Create
	case slices.Contains(a, "no-op") && r.Previous == "" && len(r.Change.Importing) == 0, slices.Contains(a, "read"), len(a) == 0:
		return ""
	default:
		return schema.Update // also what moved, is imported, is forgotten
	}
}

// planned is a plan as deltas, without what is secret.
type planned struct {
	deltas  []drivers.Delta
	worst   schema.Action // Create, Update or Replace: the worst within
	total   int           // of steps, for progress
	drifted []string      // addresses
	secrets []schema.Secret
}

// digest makes deltas of a plan's changes.
func (m *masker) digest(p *planJSON) (*planned, error) {
	out := &planned{}
	for i := range p.ResourceChanges {
		r := &p.ResourceChanges[i]
		effect := r.effect()
		if effect == "" {
			m.hide(r.Change.Before, r.Change.BeforeSensitive)
			continue
		}
		out.total++
		if effect == schema.Replace {
			out.total++
		}
		if effect.Destroys() {
			out.worst = schema.Replace
		}
		delta, err := m.resource(r, effect)
		if err != nil {
			return nil, err
		}
		out.deltas = append(out.deltas, delta)
	}
	for name, c := range p.OutputChanges {
		if slices.Contains(c.Actions, "no-op") {
			m.hide(c.Before, c.BeforeSensitive)
			continue
		}
		delta, err := m.output(name, c)
		if err != nil {
			return nil, err
		}
		out.deltas = append(out.deltas, delta)
	}
	for _, r := range p.ResourceDrift {
		if r.Mode != "data" && !slices.Contains(r.Change.Actions, "no-op") {
			out.drifted = append(out.drifted, r.Address)
		}
	}
	out.secrets = m.secrets
	return out, nil
}

// known is what stands for a value that the tool knows after the apply.
const known = "(known after apply)"

// resource is the delta of one resource: of an update the attributes that
// change, else all.
func (m *masker) resource(r *resourceJSON, effect schema.Action) (drivers.Delta, error) {
	name := r.Address
	if r.Deposed != "" {
		name += " (deposed " + r.Deposed + ")"
	}
	d := drivers.Delta{Path: sourcesPath.Child(name), Op: effect}
	before, after := m.sides(r.Change)
	if effect == schema.Update || effect == schema.Replace {
		before, after = m.changed(r, before, after)
	}
	var err error
	if effect != schema.Create {
		if d.Before, err = driverkit.Text(before); err != nil {
			return d, err
		}
	}
	if effect != schema.Delete {
		d.After, err = driverkit.Text(after)
	}
	return d, err
}

// sides are before and after, masked, without what is null.
func (m *masker) sides(c changeJSON) (before, after map[string]any) {
	before = object(m.mask(c.Before, c.BeforeSensitive))
	after = object(m.mask(overlay(c.After, c.AfterUnknown), c.AfterSensitive))
	return before, after
}

// changed drops the attributes that stay as they are.
func (m *masker) changed(r *resourceJSON, before, after map[string]any) (map[string]any, map[string]any) {
	rawB, rawA := object(r.Change.Before), object(overlay(r.Change.After, r.Change.AfterUnknown))
	for k, v := range rawB {
		if w, has := rawA[k]; has && reflect.DeepEqual(v, w) {
			delete(before, k)
			delete(after, k)
		}
	}
	if r.Previous != "" {
		before["!address"], after["!address"] = r.Previous, r.Address
	}
	if len(r.Change.Importing) > 0 {
		after["!import"] = true
	}
	if reflect.DeepEqual(before, after) { // such as another sensitivity, or to be forgotten
		after["!action"] = strings.Join(r.Change.Actions, ", ")
	}
	return before, after
}

func object(v any) map[string]any {
	all := map[string]any{}
	if m, ok := v.(map[string]any); ok {
		for k, e := range m {
			if e != nil {
				all[k] = e
			}
		}
	}
	return all
}

func (m *masker) output(name string, c changeJSON) (drivers.Delta, error) {
	d := drivers.Delta{Path: valuesPath.Child(name), Op: schema.Update}
	var err error
	if slices.Contains(c.Actions, "create") {
		d.Op = schema.Create
	} else if d.Before, err = driverkit.Text(m.mask(c.Before, c.BeforeSensitive)); err != nil {
		return d, err
	}
	if slices.Contains(c.Actions, "delete") {
		d.Op = schema.Delete
		return d, nil
	}
	if d.After, err = driverkit.Text(m.mask(overlay(c.After, c.AfterUnknown), c.AfterSensitive)); err != nil {
		return d, err
	}
	if bytes.Equal(d.Before, d.After) { // another sensitivity alone
		d.Before = nil
	}
	return d, nil
}
