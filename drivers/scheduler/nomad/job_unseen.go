package nomad

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// What Nomad's plan does not compare is compared here: the test that alters
// every field of a job found it. Both sides have Nomad's defaults filled in.

// unseen are the fields of a job that Nomad's plan is blind to, by path; what is
// unset has none.
type unseen map[schema.Path]json.RawMessage

// unseenOf takes them out of a job. Of a declared one the defaults are filled
// in first, on a copy.
func unseenOf(j *api.Job) (unseen, error) {
	u := unseenReader{all: unseen{}}
	at := schema.Path("/job")
	u.add(at.Child("Spreads"), spreadsOf(j.Spreads))
	for _, g := range j.TaskGroups {
		u.group(at.Child("TaskGroups").Child(value(g.Name)), g)
	}
	return u.all, u.err
}

type unseenReader struct {
	all unseen
	err error
}

func (u *unseenReader) add(at schema.Path, v any) {
	if reflect.ValueOf(v).IsZero() {
		return
	}
	raw, err := json.Marshal(v)
	u.err = errors.Join(u.err, err)
	tree, err := driverkit.Tree(raw)
	u.err = errors.Join(u.err, err)
	if prune(tree) {
		return
	}
	text, err := driverkit.Text(tree)
	u.err = errors.Join(u.err, err)
	u.all[at] = text
}

func (u *unseenReader) group(at schema.Path, g *api.TaskGroup) {
	u.add(at.Child("Spreads"), spreadsOf(g.Spreads))
	u.services(at, g.Services)
	for _, t := range g.Tasks {
		at := at.Child("Tasks").Child(t.Name)
		u.add(at.Child("RestartPolicy"), t.RestartPolicy)
		u.add(at.Child("Lifecycle"), t.Lifecycle)
		u.add(at.Child("CSIPluginConfig"), t.CSIPluginConfig)
		if t.Resources != nil {
			for i, d := range t.Resources.Devices {
				at := at.Child("Resources").Child("Devices").Index(i)
				u.add(at.Child("Constraints"), d.Constraints)
				u.add(at.Child("Affinities"), d.Affinities)
			}
		}
		u.services(at, t.Services)
	}
}

func (u *unseenReader) services(at schema.Path, services []*api.Service) {
	for i, s := range services {
		at := at.Child("Services").Child(orElse(s.Name, strconv.Itoa(i)))
		for j, c := range s.Checks {
			at := at.Child("Checks").Child(orElse(c.Name, strconv.Itoa(j)))
			u.add(at.Child("Args"), c.Args)
			if c.CheckRestart != nil {
				u.add(at.Child("CheckRestart").Child("IgnoreWarnings"), c.CheckRestart.IgnoreWarnings)
			}
		}
		if s.Connect == nil {
			continue
		}
		at = at.Child("Connect")
		if side := s.Connect.SidecarService; side != nil {
			u.add(at.Child("SidecarService").Child("Tags"), side.Tags)
			if side.Proxy != nil {
				for k, up := range side.Proxy.Upstreams {
					u.add(at.Child("SidecarService").Child("Proxy").Child("Upstreams").Index(k).Child("Config"), up.Config)
				}
			}
		}
	}
}

// spreadsOf are spreads with the default that Nomad fills in.
func spreadsOf(spreads []*api.Spread) []any {
	var list []any
	for _, s := range spreads {
		weight := int8(50)
		if s.Weight != nil {
			weight = *s.Weight
		}
		list = append(list, map[string]any{"Attribute": s.Attribute, "Weight": weight, "SpreadTarget": s.SpreadTarget})
	}
	return list
}

// unseenDeltas compares them. Of a group or task that only one side has the
// plan says so.
func unseenDeltas(live unseen, lives []schema.Path, j *api.Job) ([]drivers.Delta, error) {
	whole, err := copyJob(j)
	if err != nil {
		return nil, err
	}
	whole.Canonicalize()
	want, err := unseenOf(whole)
	if err != nil {
		return nil, err
	}
	both := commonTo(lives, tasksOf(whole))
	paths := map[schema.Path]bool{}
	for _, side := range []unseen{live, want} {
		for p := range side {
			paths[p] = true
		}
	}
	var all []drivers.Delta
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		before, after := live[p], want[p]
		if bytes.Equal(before, after) || !both(p) {
			continue
		}
		d := drivers.Delta{Path: p, Op: schema.Update, Before: before, After: after}
		switch {
		case before == nil:
			d.Op = schema.Create
		case after == nil:
			d.Op = schema.Delete
		}
		all = append(all, d)
	}
	return all, nil
}

// unnamed are those of more that a plan does not name: another Nomad may see
// what this one is blind to.
func unnamed(more, planned []drivers.Delta) []drivers.Delta {
	return slices.DeleteFunc(more, func(m drivers.Delta) bool {
		return slices.ContainsFunc(planned, func(p drivers.Delta) bool { return p.Path.Within(m.Path) || m.Path.Within(p.Path) })
	})
}

// tasksOf are the paths of the groups of a job and of their tasks.
func tasksOf(j *api.Job) []schema.Path {
	var all []schema.Path
	for _, g := range j.TaskGroups {
		at := schema.Path("/job/TaskGroups").Child(value(g.Name))
		all = append(all, at)
		for _, t := range g.Tasks {
			all = append(all, at.Child("Tasks").Child(t.Name))
		}
	}
	return all
}

// commonTo says whether the group and the task that a path lies in are on both
// sides.
func commonTo(a, b []schema.Path) func(schema.Path) bool {
	return func(p schema.Path) bool {
		steps, at := p.Steps(), schema.Path("/job/TaskGroups")
		if len(steps) < 3 || steps[1] != "TaskGroups" {
			return true
		}
		at = at.Child(steps[2])
		if len(steps) > 4 && steps[3] == "Tasks" {
			at = at.Child("Tasks").Child(steps[4])
		}
		return slices.Contains(a, at) && slices.Contains(b, at)
	}
}

func copyJob(j *api.Job) (*api.Job, error) {
	raw, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	c := &api.Job{}
	return c, json.Unmarshal(raw, c)
}
