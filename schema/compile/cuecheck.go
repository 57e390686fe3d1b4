package compile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// cuePackage checks one CUE package, in a worker.
type cuePackage struct {
	*cueReader
	checker *checker
	bundle  *cueload.Bundle
	res     fileResult
}

// bundle checks a CUE package. Like file it never fails.
func (c *checker) bundle(in input) (res fileResult) {
	p := &cuePackage{
		cueReader: &cueReader{
			builder: &builder{file: in.Path, limits: c.limits}, base: in.Tree,
			near:  func(file string) bool { return around(path.Dir(file), path.Dir(in.Path)) },
			kinds: c.kinds,
		},
		checker: c, bundle: in.Bundle,
	}
	p.tree = make(map[string]bool, len(in.Bundle.Files))
	for _, f := range in.Bundle.Files {
		p.tree[f.Path] = true
	}
	defer func() {
		if r := recover(); r != nil { // as in file
			p.findings = nil
			p.report(1, 1, "", "this package cannot be read: %s", shorten(fmt.Sprint(r)))
			c.cctx = nil
			p.res = fileResult{Broken: []fragment{{}}}
		}
		p.res.Findings = bound(schema.SortDiagnostics(p.findings))
		res = p.res
	}()
	p.check()
	return
}

// around says whether dir is the folder at, or above it: there the files of a
// package lie.
func around(dir, at string) bool {
	if strings.HasPrefix(dir, "..") {
		return strings.Trim(dir, "./") == ""
	}
	return dir == "." || dir == at || strings.HasPrefix(at, dir+"/")
}

func (p *cuePackage) check() {
	p.res.Foreign = !p.mentions()
	v, inst, err := p.bundle.Build(cuecontext.New())
	if inst != nil && p.leftOut(inst) && err != nil {
		return // nothing is left
	}
	if err != nil {
		p.unbuilt(err)
		return
	}
	if _, err := v.Fields(); err != nil {
		p.unbuilt(err)
		return
	}
	if v.Err() != nil {
		p.unseen(v)
	}
	p.root = p.whole(inst.Files)
	p.declarations(v, 1, p.declared, p.undeclared)
	if len(p.findings) == 0 {
		p.findings = p.derived
	}
}

// whole is where a package stands: all of its files.
func (p *cuePackage) whole(files []*ast.File) *spot {
	s := p.top()
	for _, f := range files {
		s.exprs = append(s.exprs, &ast.StructLit{Elts: f.Decls})
		s.lines = append(s.lines, p.lines(f)...)
	}
	return &s
}

// unseen reports the errors of definitions and of hidden fields, which no
// declaration shows.
func (p *cuePackage) unseen(v cue.Value) {
	var order []string
	groups := map[string][]errors.Error{}
	for _, err := range errors.Errors(v.Validate(cue.All())) {
		path := err.Path()
		if !slices.ContainsFunc(path, func(s string) bool { return s[0] == '#' || s[0] == '_' }) {
			continue
		}
		name := strings.Join(path, ".")
		if groups[name] == nil {
			order = append(order, name)
		}
		groups[name] = append(groups[name], err)
	}
	for _, name := range order {
		p.unseenAt(name, v.LookupPath(cue.ParsePath(name)), groups[name])
	}
}

// unseenAt reports the errors of one field; v is it, where it can be found.
func (p *cuePackage) unseenAt(name string, v cue.Value, all []errors.Error) {
	first := firstOf(all)
	at, ok := p.firstPlace(first)
	msg, hint := severalWords(all)
	if mine, against := p.against(v); against != "" {
		at, ok, msg, hint = p.sourceOf(mine).at, true, against, ""
	}
	if ok {
		p.findings = append(p.findings, schema.Diagnostic{Pos: at, Message: name + ": " + msg, Hint: hint, Also: p.otherPlaces(first, at)})
	}
}

// undeclared reports what nobody can say of what it declares.
func (p *cuePackage) undeclared(v cue.Value) {
	if p.res.Foreign && cue.IsIncomplete(v.Err()) {
		return // a library: others give what it lacks
	}
	p.res.Broken = append(p.res.Broken, fragment{})
	p.outer, p.kind = 0, nil
	s := p.spot
	if mine, msg := p.against(v); msg != "" {
		at := p.sourceOf(mine)
		p.find(v, at, "", "%s: %s", p.name(v), msg)
		p.findings[len(p.findings)-1].Also = p.otherPlaces(firstError(v.Err()), at.at)
		return
	}
	if _, err := v.Fields(); err != nil {
		p.wrong(v, s)
		return
	}
	for _, err := range ownErrors(v) {
		if p := err.Path(); len(p) > 0 && (p[len(p)-1][0] == '#' || p[len(p)-1][0] == '_') {
			continue // see unseen
		}
		at := s
		at.own = !p.within(v, err.Position())
		msg, hint := cueWords(err)
		if cue.IsIncomplete(v.Err()) && !isMissing(err) {
			msg = "what it holds depends on a value that is not given"
		}
		p.tell(v, at, err, msg, hint)
	}
}

// within says whether v is written around a place.
func (p *cuePackage) within(v cue.Value, at token.Pos) bool {
	here, ok := p.placed(at)
	if src := v.Source(); src != nil {
		return ok && p.lines(src).hold(here)
	}
	return ok
}

// mentions says whether anything in the package, and in what it imports of the
// repository, speaks of declarations of aplomb. Without that it declares none.
func (p *cuePackage) mentions() bool {
	return slices.ContainsFunc(p.bundle.Files, func(f cueload.File) bool { return strings.Contains(string(f.Data), "aplomb.dev") })
}

// declared checks one declaration.
func (p *cuePackage) declared(v cue.Value) {
	from := len(p.findings)
	root := p.declaration(v)
	d := &document{builder: p.builder, checker: p.checker, root: root, base: "/spec", found: len(p.findings) > from || len(p.clashes) > 0 || p.follows}
	d.identify()
	for i := range p.findings[from:] {
		p.findings[from+i].Subject = d.subject
	}
	p.res.Foreign = false
	if root.kind != mapValue {
		p.res.Broken = append(p.res.Broken, fragment{})
		return
	}
	if d.foreign() {
		d.find(root.pos(p.file), "", fmt.Sprintf("apiVersion: %q makes it a declaration; what others build on is a definition (#name) or hidden (_name)", schema.APIVersion),
			"missing field apiVersion")
		f, _ := d.stray(true)
		p.res.Broken = append(p.res.Broken, f)
		return
	}
	p.checker.fresh()
	p.checker.settle(d, &p.res)
	for _, c := range p.clashes {
		if !slices.ContainsFunc(p.findings[from:], func(f schema.Diagnostic) bool { return f.Pos == c.at }) {
			d.find(c.at, c.path, "", "%s", c.message)
		}
	}
}

// unbuilt reports why a package cannot be evaluated at all. Of a file that does
// not parse the first error counts: those after it follow from it.
func (p *cuePackage) unbuilt(err error) {
	p.res.Broken = append(p.res.Broken, fragment{})
	seen := map[schema.Pos]bool{}
	for _, e := range errors.Errors(err) {
		e = said(e)
		at, ok := p.firstPlace(e)
		if !ok {
			at = p.top().at
		}
		msg, hint := buildWords(e)
		place := at
		if len(e.Path()) == 0 && hint == "" {
			place.Line, place.Col = 0, 0
		}
		if seen[place] {
			continue
		}
		seen[place] = true
		p.findings = append(p.findings, schema.Diagnostic{Pos: at, Message: msg, Hint: hint})
	}
}

// buildWords are what people are told for an error of parsing or importing.
func buildWords(err errors.Error) (msg, hint string) {
	msg, hint = cueWords(err)
	if _, what, ok := strings.Cut(err.Error(), "cannot find package "); ok {
		name, _, _ := strings.Cut(what, ":")
		if own := shippedLike(strings.Trim(name, `"`)); own != "" {
			return "there is no package " + name, "did you mean " + own + "?"
		}
		return "there is no package " + name,
			"a package of this repository is imported as its module's name and the folder; what others wrote lies below cue.mod/pkg: nothing is fetched"
	}
	return strings.TrimPrefix(msg, "import failed: "), hint
}

// shippedLike is the package of this program's own that is most like name, ""
// where name is not like one.
func shippedLike(name string) string {
	files, err := cueload.Module()
	if err != nil || !strings.HasPrefix(name, "aplomb.dev/") {
		return ""
	}
	all := []string{cueload.TemplatesPath}
	for _, f := range files {
		if strings.HasSuffix(f.Path, ".cue") {
			all = append(all, path.Join(cueload.ModulePath, path.Dir(f.Path)))
		}
	}
	return schema.Closest(name, all)
}

// leftOut reports the files of the package that CUE leaves out by a condition
// that only its own command line could meet: what they declare is not to be
// taken for gone.
func (p *cuePackage) leftOut(inst *build.Instance) (some bool) {
	for _, f := range inst.IgnoredFiles {
		if f.ExcludeReason == nil || !strings.Contains(f.ExcludeReason.Error(), "@if(") {
			continue
		}
		some = true
		at, ok := p.firstPlace(f.ExcludeReason)
		if !ok {
			at = p.top().at
		}
		p.res.Broken = append(p.res.Broken, fragment{})
		p.findings = append(p.findings, schema.Diagnostic{
			Pos: at, Message: "this file is left out: nobody gives the tags that its @if asks for",
			Hint: "use a field instead of a tag, or list the file in " + IgnoreFile,
		})
	}
	return some
}
