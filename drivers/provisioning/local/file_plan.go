package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	contentPath  schema.Path = "/content"
	templatePath schema.Path = "/template"
	varsPath     schema.Path = "/vars"
	modePath     schema.Path = "/mode"
	typePath     schema.Path = "/!type" // what lives there is no regular file
)

type fileSpec struct {
	Content  *string        `json:"content"`
	Template string         `json:"template"`
	Vars     map[string]any `json:"vars"`
	Mode     string         `json:"mode"`
}

// filePlan is Change.Opaque of a file.
type filePlan struct {
	desired *drivers.Desired // nil: delete
	version string           // that lived when it was planned; "" for none
	print   string           // content that lived
	content bool             // the content is written; else only the mode
	known   bool             // it was owned before
	unknown bool             // a value was not known: plan again
	show    bool             // the state answered may hold the content
}

func (d *Driver) planFile(it drivers.Item, state drivers.State) (drivers.Change, error) {
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None, Outputs: map[string]drivers.Output{}}
	where, err := d.place(it.Handle)
	if err != nil {
		return c, err
	}
	live, _ := state.Raw.(liveFile)
	if live.kind == "folder" {
		return c, driverkit.Refuse("write", where.abs(), errors.New("a folder has this path"), "move the folder away, or declare another path")
	}
	plan := &filePlan{desired: it.Want, version: state.Version, print: live.print, known: it.Last != nil, show: shows(it)}
	c.Opaque = plan
	if it.Want == nil {
		driverkit.Deletion(&c, state)
		return c, nil
	}
	content, err := d.contentDelta(it, state, live, plan)
	if err != nil {
		return c, err
	}
	mode, err := modeDelta(it.Want, live)
	if err != nil {
		return c, err
	}
	for _, delta := range []*drivers.Delta{typeDelta(state, live), content.delta, mode.delta} {
		if delta != nil {
			c.Diff = append(c.Diff, *delta)
		}
	}
	version := ""
	if content.print != "" && mode.text != "" {
		version = liveFile{kind: "file", print: content.print, mode: mode.text}.version()
	}
	if c.Outputs, err = outputs(where, version); err != nil {
		return c, err
	}
	driverkit.Decide(&c, it, state, it.Last != nil || it.Nonce != "" && len(c.Diff) == 0 || live.landed != "" && live.landed == live.version())
	return c, nil
}

// wantedContent is what is known of the content that is wanted.
type wantedContent struct {
	delta *drivers.Delta
	print string // change token; "" where it is not known
}

// contentDelta compares the content itself, whether it is declared as such or
// comes of a template: the content is what Apply alters.
func (d *Driver) contentDelta(it drivers.Item, state drivers.State, live liveFile, plan *filePlan) (wantedContent, error) {
	unknown := under(it.Want.Unknown)
	secret := under(it.Want.Secrets)
	plan.unknown = len(it.Want.Unknown) > 0
	data, err := render(it.Want, nil)
	if err != nil && len(unknown)+len(secret) == 0 {
		return wantedContent{}, err
	}
	after := shownText(data, "")
	if err != nil || len(data) > MaxShown { // it was made with texts that stand for values
		source, err := sourceOf(it.Want)
		if err != nil {
			return wantedContent{}, err
		}
		after = standIn(it.Want, unknown, secret, source)
	}
	var out wantedContent
	switch {
	case len(unknown) > 0:
	case len(secret) > 0:
		if d.settled(it, live) {
			return wantedContent{print: live.print}, nil
		}
	default:
		out.print = d.Fingerprint(data)
		after = shownText(data, out.print)
		if live.kind == "file" && live.print == out.print {
			return out, nil
		}
	}
	plan.content = true
	out.delta = &drivers.Delta{Path: contentPath, Op: schema.Create, Unknown: len(unknown) > 0}
	if state.Exists {
		out.delta.Op = schema.Update
		before := schema.Token(live.print)
		if plan.show && live.kind == "file" {
			before = contentOf(state.Spec)
		}
		if out.delta.Before, err = driverkit.Text(before); err != nil {
			return out, err
		}
	}
	out.delta.After, err = driverkit.Text(after)
	return out, err
}

// settled says whether a content that cannot be known while planning lives
// already: it was applied from the same words, and is still what was applied.
func (d *Driver) settled(it drivers.Item, live liveFile) bool {
	if it.Last == nil && live.kind == "file" && live.landed != "" {
		return printOf(live.landed) == live.print
	}
	if it.Last == nil || live.kind != "file" || it.Last.Files != it.Want.Files.Hash() {
		return false
	}
	return printOf(it.Last.Version) == live.print && sameSource(it.Last.Spec, it.Want.Spec)
}

func printOf(version string) string {
	print, _, _ := strings.Cut(version, "-")
	return print
}

func sameSource(a, b json.RawMessage) bool {
	diff, err := driverkit.Diff(a, b, nil)
	return err == nil && !slices.ContainsFunc(diff, func(x drivers.Delta) bool { return isSource(x.Path) })
}

func isSource(p schema.Path) bool {
	return p.Within(contentPath) || p.Within(templatePath) || p.Within(varsPath)
}

// under are the paths that the content comes of.
func under(m map[schema.Path]string) []schema.Path {
	var paths []schema.Path
	for _, p := range slices.Sorted(maps.Keys(m)) {
		if isSource(p) {
			paths = append(paths, p)
		}
	}
	return paths
}

// standIn tells a content that cannot be made yet by what it is made of: all of
// it, by a hash, since whoever approves it agrees to that alone.
func standIn(want *drivers.Desired, unknown, secret []schema.Path, source string) string {
	var parts []string
	for _, p := range unknown {
		parts = append(parts, p.String()+" = "+want.Unknown[p])
	}
	for _, p := range secret {
		parts = append(parts, p.String()+" = "+textAt(want.Spec, p))
	}
	return fmt.Sprintf("[%s; made of %s]", strings.Join(parts, ", "), source)
}

// textAt is the text at a path of a spec, where a secret stands as its token.
func textAt(spec json.RawMessage, p schema.Path) string {
	tree, err := driverkit.Tree(spec)
	if err != nil {
		return ""
	}
	for _, step := range p.Steps() {
		m, ok := tree.(map[string]any)
		if !ok {
			return ""
		}
		tree = m[step]
	}
	s, _ := tree.(string)
	return s
}

func contentOf(spec json.RawMessage) string { return textAt(spec, contentPath) }

type wantedMode struct {
	delta *drivers.Delta
	text  string // "" where it is not known
}

func modeDelta(want *drivers.Desired, live liveFile) (out wantedMode, err error) {
	var s fileSpec
	if err := driverkit.Decode(want, &s); err != nil {
		return out, driverkit.Refuse("read", FileKind, err, "")
	}
	after, unknown := want.Unknown[modePath]
	if !unknown {
		if after, err = canonicalMode(s.Mode); err != nil {
			return out, err
		}
		out.text = after
		if live.kind == "file" && live.mode == after {
			return out, nil
		}
	}
	out.delta = &drivers.Delta{Path: modePath, Op: schema.Create, Unknown: unknown}
	if live.kind == "file" {
		out.delta.Op = schema.Update
		if out.delta.Before, err = driverkit.Text(live.mode); err != nil {
			return out, err
		}
	}
	out.delta.After, err = driverkit.Text(after)
	return out, err
}

func typeDelta(state drivers.State, live liveFile) *drivers.Delta {
	if !state.Exists || live.kind == "file" {
		return nil
	}
	return &drivers.Delta{Path: typePath, Op: schema.Update, Before: json.RawMessage(`"` + live.kind + `"`), After: json.RawMessage(`"file"`)}
}

// templateOf finds the template among a resource's files: by its path, or as
// the only one.
func templateOf(want *drivers.Desired, name string) (schema.File, error) {
	if f, ok := want.Files.Get(path.Clean(name)); ok {
		return f, nil
	}
	if len(want.Files) == 1 {
		return want.Files[0], nil
	}
	return schema.File{}, driverkit.Refuse("find template", name, errors.New("no such file came with the declaration"), "")
}
