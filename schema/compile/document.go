package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

// document is one declaration that is being checked.
type document struct {
	*builder
	checker *checker
	root    *value
	base    schema.Path // of what is checked along a model: "/spec", or "" for a whole document
	found   bool        // reading it made findings already
	adrift  bool        // its targets are not known
	subject string      // kind/name once it is known
	kind    *kind
	use     *templateUse // of a template; kind is nil then
	out     schema.Resource
	uses    []fileUse
}

// foreign says that nothing marks the document as a declaration.
func (d *document) foreign() bool { return d.root.get("apiVersion") == nil }

// find reports a finding about the place at path inside the document.
func (d *document) find(pos schema.Pos, path schema.Path, hint, format string, args ...any) {
	d.findings = append(d.findings, schema.Diagnostic{
		Pos: pos, Subject: d.subject, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// wrong reports a value that is not what it should be. Of one that could not
// be read that was said already.
func (d *document) wrong(v *value, path schema.Path, want string) {
	if v.kind == brokenValue {
		return
	}
	d.find(v.pos(d.file), path, "", "%s: %s is not %s", path, v.words(), want)
}

// check fills in d.out and d.uses; false if there were findings.
func (d *document) check() bool {
	before := len(d.findings)
	d.envelope()
	switch spec := d.spec(); {
	case d.use != nil:
		d.use.Spec = spec
	case d.kind != nil:
		d.checkSpec(spec)
	}
	d.out.Lines = linesOf(d)
	return len(d.findings) == before && !d.found
}

// identify fills in d.subject, as far as the document says it.
func (d *document) identify() {
	if k, n := d.root.get("kind"), d.root.get("metadata").get("name"); k != nil && n != nil && schema.ValidKind(kindOnly(k.text)) && schema.ValidName(n.text) {
		d.subject = kindOnly(k.text) + "/" + n.text
	}
}

var envelopeFields = []string{"apiVersion", "kind", "metadata", "spec"}

func (d *document) envelope() {
	d.out.Pos = d.root.keys[0].pos(d.file)
	d.unknown(d.root, "", envelopeFields)
	if v := d.root.get("apiVersion"); v.kind != stringValue || v.text != schema.APIVersion {
		d.wrong(v, "/apiVersion", fmt.Sprintf("%q", schema.APIVersion))
	}
	d.readKind()
	meta := d.root.get("metadata")
	switch {
	case meta == nil || meta.kind == nullValue:
		d.missing(d.root, "", "metadata")
	case meta.kind != mapValue:
		d.wrong(meta, "/metadata", "a mapping")
	default:
		d.metadata(meta)
	}
}

func (d *document) readKind() {
	v := d.root.get("kind")
	switch {
	case v == nil:
		d.missing(d.root, "", "kind")
	case v.kind != stringValue || !schema.ValidKind(kindOnly(v.text)):
		d.wrong(v, "/kind", "a kind such as local.file")
	case isTemplate(kindOnly(v.text)):
		d.pinned(v)
	case d.checker.kinds[v.text] != nil:
		d.kind = d.checker.kinds[v.text]
		d.out.ID.Kind, d.out.Data = v.text, d.kind.Data
	default:
		d.find(v.pos(d.file), "/kind", d.kindHint(v.text), "unknown kind %s", shorten(v.text))
	}
}

func (d *document) closestKind(got string) string {
	return closest(got, slices.Collect(maps.Keys(d.checker.kinds)))
}

// closest is schema.Closest for words that are short enough to be mistyped.
func closest(got string, known []string) string {
	if len(got) > 2*len(slices.MaxFunc(append([]string{""}, known...), func(a, b string) int { return len(a) - len(b) })) {
		return ""
	}
	return schema.Closest(got, known)
}

// kindHint says what an unknown kind was meant to be.
func (d *document) kindHint(got string) string {
	if hint := didYouMean(d.closestKind(got)); hint != "" {
		return hint
	}
	return "the kinds are " + strings.Join(slices.Sorted(maps.Keys(d.checker.kinds)), ", ")
}

func didYouMean(s string) string {
	if s == "" {
		return ""
	}
	return "did you mean " + s + "?"
}

// unknown reports keys that are not among known, at the key.
func (d *document) unknown(v *value, path schema.Path, known []string) {
	for _, k := range v.keys {
		if !slices.Contains(known, k.name) {
			at := path.Child(k.name)
			d.find(k.pos(d.file), at, didYouMean(closest(k.name, known)), "unknown field %s", shorten(at.String()))
		}
	}
}

func (d *document) missing(parent *value, path schema.Path, name string) {
	if parent.partial {
		return
	}
	at := path.Child(name)
	d.find(parent.pos(d.file), at, "", "missing field %s", at)
}

// spec is the document's spec; one that is left out is an empty one.
func (d *document) spec() *value {
	v := d.root.get("spec")
	if v == nil || v.kind == nullValue {
		return &value{kind: mapValue, line: d.root.line, col: d.root.col, nodes: 1, height: 1}
	}
	if v.kind != mapValue {
		d.wrong(v, "/spec", "a mapping")
		d.kind = nil
	}
	return v
}

var metadataFields = []string{"name", "target", "targets", "labels", "needs", "hold", "adopt", "was", "share", "expires"}

func (d *document) metadata(m *value) {
	d.unknown(m, "/metadata", metadataFields)
	if v := m.get("name"); v == nil {
		d.missing(m, "/metadata", "name")
	} else if d.name(v, "/metadata/name") {
		d.out.ID.Name = v.text
	}
	d.targets(m)
	d.useOnly(m)
	d.labels(m.get("labels"))
	for i, v := range d.list(m.get("needs"), "/metadata/needs") {
		d.need(v, schema.Path("/metadata/needs").Index(i))
	}
	for i, v := range d.list(m.get("hold"), "/metadata/hold") {
		d.hold(v, schema.Path("/metadata/hold").Index(i))
	}
	for i, v := range d.list(m.get("share"), "/metadata/share") {
		d.share(v, schema.Path("/metadata/share").Index(i))
	}
	if v := m.get("adopt"); v != nil && v.kind != boolValue {
		d.wrong(v, "/metadata/adopt", "true or false")
	} else {
		d.out.Adopt = v != nil && v.text == "true"
	}
	if v := m.get("was"); v != nil {
		if _, err := schema.ParseID(v.text); v.kind != stringValue || err != nil {
			d.wrong(v, "/metadata/was", "kind/name or kind/name@target")
		}
		d.out.Was = v.text
	}
	if v := m.get("expires"); v != nil {
		day, err := time.Parse(time.DateOnly, v.text)
		if v.kind != stringValue || err != nil {
			d.wrong(v, "/metadata/expires", "a date such as 2027-01-31")
		}
		d.out.Expires = day.AddDate(0, 0, 1) // the end of that day
	}
}

func (d *document) name(v *value, path schema.Path) bool {
	if v.kind == stringValue && schema.ValidName(v.text) {
		return true
	}
	d.wrong(v, path, named["#Name"].words)
	return false
}

// list are the elements of a list that may be left out.
func (d *document) list(v *value, path schema.Path) []*value {
	if v == nil {
		return nil
	}
	if v.kind != listValue {
		d.wrong(v, path, "a list")
		return nil
	}
	return v.items
}

func (d *document) targets(m *value) {
	one, many := m.get("target"), m.get("targets")
	before := len(d.findings)
	defer func() {
		d.adrift = len(d.findings) > before || m.partial || d.found && (one != nil || many != nil)
	}()
	if one != nil && d.name(one, "/metadata/target") {
		d.out.Targets = []string{one.text}
	}
	if many == nil {
		return
	}
	if one != nil {
		d.find(many.pos(d.file), "/metadata/targets", "", "metadata.target and metadata.targets exclude each other")
	}
	for i, v := range d.list(many, "/metadata/targets") {
		at := schema.Path("/metadata/targets").Index(i)
		switch {
		case !d.name(v, at):
		case slices.Contains(d.out.Targets, v.text):
			d.find(v.pos(d.file), at, "", "%s: the target %s stands twice", at, v.text)
		default:
			d.out.Targets = append(d.out.Targets, v.text)
		}
	}
	if many.kind == listValue && len(many.items) == 0 {
		d.find(many.pos(d.file), "/metadata/targets", "leave the field out where there is one target", "metadata.targets is empty: it would make no resource")
	}
}

func (d *document) labels(v *value) {
	if v == nil {
		return
	}
	if v.kind != mapValue {
		d.wrong(v, "/metadata/labels", "a mapping")
		return
	}
	d.out.Labels = make(map[string]string, len(v.items))
	for i, item := range v.items {
		at := schema.Path("/metadata/labels").Child(v.keys[i].name)
		switch {
		case item.kind != stringValue:
			d.wrong(item, at, "a string")
		case schema.HasMark(item.text):
			d.find(item.pos(d.file), at, "", "%s cannot hold a reference: references stand in spec only", at)
		}
		d.out.Labels[v.keys[i].name] = item.text
	}
}

func (d *document) need(v *value, path schema.Path) {
	id, err := schema.ParseID(v.text)
	if v.kind != stringValue || err != nil {
		d.wrong(v, path, "kind/name or kind/name@target")
		return
	}
	if isTemplate(id.Kind) && id.Target != "" {
		d.find(v.pos(d.file), path, "", "%s: a use of a template has no target", path)
		return
	}
	if d.checker.kinds[id.Kind] == nil && !isTemplate(id.Kind) {
		d.find(v.pos(d.file), path, d.kindHint(id.Kind), "%s: unknown kind %s", path, id.Kind)
		return
	}
	d.out.Needs = append(d.out.Needs, schema.Need{ID: id, Pos: v.pos(d.file)})
}

func (d *document) share(v *value, path schema.Path) {
	if v.kind != stringValue {
		d.wrong(v, path, `a path, such as "teams/pay/**"`)
		return
	}
	if _, err := schema.ParseGlob(v.text); err != nil {
		d.find(v.pos(d.file), path, `such as "teams/pay/**"; "**" is everybody`, "%s: %s is no pattern: %s", path, v.words(), err)
		return
	}
	d.out.Share = append(d.out.Share, v.text)
}

var holdable = []string{string(schema.Create), string(schema.Update), string(schema.Replace), string(schema.Delete)}

func (d *document) hold(v *value, path schema.Path) {
	if v.kind != stringValue || !slices.Contains(holdable, v.text) {
		d.wrong(v, path, named["#Action"].words)
		return
	}
	if a := schema.Action(v.text); !slices.Contains(d.out.Hold, a) {
		d.out.Hold = append(d.out.Hold, a)
	}
}
