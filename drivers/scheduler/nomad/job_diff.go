package nomad

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// In the paths of a job's deltas groups and tasks go by their names, and what
// Nomad's plan calls by the name of its type goes by the name of the API's
// field: /job/TaskGroups/web/Tasks/server/Config/command. Of things in a list
// that have no name, the one that differs first is 0.

// listed are the fields of the API that hold the objects of a plan, where the
// names differ.
var listed = map[string]string{
	"Constraint": "Constraints", "Affinity": "Affinities", "Service": "Services", "Check": "Checks", "Network": "Networks",
	"Template": "Templates", "Artifact": "Artifacts", "Volume": "Volumes", "VolumeMount": "VolumeMounts", "Device": "Devices",
	"ConsulUpstreams": "Upstreams", "Action": "Actions", "Static Port": "ReservedPorts", "Dynamic Port": "DynamicPorts",
	"Link": "Links", "Identity": "Identities", "Listener": "Listeners", "Region": "Regions",
}

var renamed = map[string]string{"ConsulConnect": "Connect", "ConsulProxy": "Proxy"}

// deltasOf makes deltas of the difference that Nomad's plan answers.
func deltasOf(diff *api.JobDiff) []drivers.Delta {
	if diff == nil || diff.Type == "None" {
		return nil
	}
	t := &translation{}
	t.fields("/job", diff.Fields)
	t.objects("/job", diff.Objects)
	for _, g := range diff.TaskGroups {
		if g.Type == "None" {
			continue
		}
		at := schema.Path("/job/TaskGroups").Child(g.Name)
		t.whole(at, g.Type, func() {
			t.fields(at, g.Fields)
			t.objects(at, g.Objects)
			for _, task := range g.Tasks {
				at := at.Child("Tasks").Child(task.Name)
				if task.Type != "None" {
					t.whole(at, task.Type, func() {
						t.fields(at, task.Fields)
						t.objects(at, task.Objects)
					})
				}
			}
		})
	}
	return t.distinct()
}

type translation struct{ deltas []drivers.Delta }

// whole makes sure that what is made or dropped is named, even if no field of
// it is. What is only said to be edited, with no field that is, differs in what
// Nomad itself keeps in it, such as the index of a scaling policy.
func (t *translation) whole(at schema.Path, typ string, below func()) {
	n := len(t.deltas)
	if below(); len(t.deltas) == n && typ != "Edited" {
		t.add(at, typ, "", "")
	}
}

func (t *translation) fields(at schema.Path, fields []*api.FieldDiff) {
	for _, f := range fields {
		if f.Type != "None" {
			t.add(at+fieldPath(f.Name), f.Type, f.Old, f.New)
		}
	}
}

func (t *translation) objects(at schema.Path, objects []*api.ObjectDiff) {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b *api.ObjectDiff) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(objectKey(a), objectKey(b)), bytes.Compare(jsonOf(a), jsonOf(b)))
	})
	count := map[string]int{}
	for _, o := range objects {
		if o.Type == "None" {
			continue
		}
		below := at.Child(orElse(renamed[o.Name], o.Name))
		if list := listed[o.Name]; list != "" {
			below = at.Child(list).Child(orElse(objectKey(o), strconv.Itoa(count[o.Name])))
			count[o.Name]++
		}
		if isSet(o) {
			t.set(below, o)
			continue
		}
		t.whole(below, o.Type, func() {
			t.fields(below, o.Fields)
			t.objects(below, o.Objects)
		})
	}
}

// isSet says whether an object is a list of texts: its fields all have its
// name.
func isSet(o *api.ObjectDiff) bool {
	return len(o.Fields) > 0 && !slices.ContainsFunc(o.Fields, func(f *api.FieldDiff) bool { return f.Name != o.Name })
}

// set names each text of a list that is added or dropped.
func (t *translation) set(at schema.Path, o *api.ObjectDiff) {
	for _, f := range o.Fields {
		if f.Type != "None" {
			t.add(at.Child(orElse(f.New, f.Old)), f.Type, f.Old, f.New)
		}
	}
}

// objectKey is the name that an object of a list gives itself.
func objectKey(o *api.ObjectDiff) string {
	for _, f := range o.Fields {
		if f.Name == "Name" || f.Name == "Label" {
			return orElse(f.New, f.Old)
		}
	}
	return ""
}

func jsonOf(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // plain data always marshals
		return nil
	}
	return text
}

func (t *translation) add(at schema.Path, typ, before, after string) {
	d := drivers.Delta{Path: at, Op: schema.Update, Before: scalar(before), After: scalar(after)}
	switch typ {
	case "Added":
		d.Op, d.Before = schema.Create, nil
	case "Deleted":
		d.Op, d.After = schema.Delete, nil
	}
	t.deltas = append(t.deltas, d)
}

// distinct orders the deltas, and tells those of one path apart.
func (t *translation) distinct() []drivers.Delta {
	slices.SortStableFunc(t.deltas, func(a, b drivers.Delta) int {
		return cmp.Or(strings.Compare(string(a.Path), string(b.Path)), bytes.Compare(a.Before, b.Before), bytes.Compare(a.After, b.After))
	})
	seen := map[schema.Path]int{}
	for i := range t.deltas {
		p := t.deltas[i].Path
		if n := seen[p]; n > 0 {
			t.deltas[i].Path = p.Child("#" + strconv.Itoa(n))
		}
		seen[p]++
	}
	return t.deltas
}

var stepRE = regexp.MustCompile(`^([^\[]*)|\[([^\]]*)\]`)

// fieldPath is the path of a field that a plan names flat: Meta[a.b],
// args[0].
func fieldPath(name string) schema.Path {
	var p schema.Path
	for _, m := range stepRE.FindAllStringSubmatch(name, -1) {
		if step := orElse(m[1], m[2]); step != "" || m[0] != "" {
			p = p.Child(step)
		}
	}
	if p == "" {
		p = p.Child(name)
	}
	return p
}

var numberRE = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})$`)

// scalar is a value that a plan tells as text.
func scalar(s string) json.RawMessage {
	if s == "true" || s == "false" || numberRE.MatchString(s) {
		return json.RawMessage(s)
	}
	return quote(s)
}

// createDiff is what a job is made with.
func createDiff(w desiredJob) ([]drivers.Delta, error) {
	tree, err := jobTree(w.raw)
	if err != nil {
		return nil, err
	}
	tree["ID"], tree["Namespace"], tree["Name"] = value(w.job.ID), value(w.job.Namespace), value(w.job.Name)
	if groups, ok := tree["TaskGroups"].([]any); ok {
		tree["TaskGroups"] = byName(groups, "Tasks")
	}
	return driverkit.DiffTrees(map[string]any{"job": skeleton(tree)}, map[string]any{"job": tree})
}

// byName makes a map of a list of things with names, and of the lists below.
func byName(list []any, below ...string) any {
	all := map[string]any{}
	for _, e := range list {
		thing, _ := e.(map[string]any)
		name, _ := thing["Name"].(string)
		if _, twice := all[name]; thing == nil || twice {
			return list
		}
		for _, field := range below {
			if inner, ok := thing[field].([]any); ok {
				thing[field] = byName(inner)
			}
		}
		all[name] = thing
	}
	return all
}

// skeleton is the objects of a tree without what is in them, so that a
// difference goes down to fields.
func skeleton(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	bare := map[string]any{}
	for k, e := range object {
		if s := skeleton(e); s != nil {
			bare[k] = s
		}
	}
	return bare
}

// againDiff is what differs from what a batch ran as.
func againDiff(it drivers.Item) ([]drivers.Delta, error) {
	diff, err := driverkit.Diff(it.Last.Spec, it.Want.Spec, nil)
	if before, after := it.Last.Files, it.Want.Files.Hash(); err == nil && before != after {
		diff = append(diff, drivers.Delta{Path: filePath, Op: schema.Update, Before: quote(before), After: quote(after)})
	}
	return diff, err
}

// markUnknown marks the deltas that hold the text of a reference, and names the
// fields of the spec whose text is in none.
func markUnknown(diff []drivers.Delta, unknown map[schema.Path]string, lives bool) []drivers.Delta {
	for _, at := range slices.Sorted(maps.Keys(unknown)) {
		text := quote(unknown[at])
		inner := text[1 : len(text)-1]
		carried := false
		for i := range diff {
			if bytes.Contains(diff[i].After, inner) {
				diff[i].Unknown, carried = true, carried || at.Within(diff[i].Path)
			}
		}
		if carried {
			continue
		}
		op := schema.Create
		if lives {
			op = schema.Update
		}
		diff = append(diff, drivers.Delta{Path: at, Op: op, After: text, Unknown: true})
	}
	driverkit.SortDeltas(diff)
	return diff
}
