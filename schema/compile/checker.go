package compile

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue"

	"github.com/aplomb-dev/aplomb/schema"
)

// recycleDocuments is how many documents one CUE context checks: contexts keep
// what was ever encoded in them.
const recycleDocuments = 1000

// checker turns the text of one file into what it declares. It is what runs in
// a worker; not safe for concurrent use.
type checker struct {
	limits Limits
	cctx   *cue.Context
	kinds  map[string]*kind
	used   int // documents since cctx was made
}

// fileResult is what one file yielded. It depends on the file's path and
// content and on the schemas only.
type fileResult struct {
	Resources []schema.Resource   `json:"resources,omitempty"` // of documents without findings; without Files
	Broken    []fragment          `json:"broken,omitempty"`    // what is known of the others
	Uses      []fileUse           `json:"uses,omitempty"`      // also of resources with findings
	Findings  []schema.Diagnostic `json:"findings,omitempty"`
	Foreign   bool                `json:"foreign,omitempty"`   // no document of aplomb in it: it may be a resource's data
	Config    *Config             `json:"config,omitempty"`    // of a configuration without findings
	Unfold    []templateUse       `json:"unfold,omitempty"`    // uses of templates without findings
	Unfolded  *unfolded           `json:"unfolded,omitempty"`  // of a use: what it is to others
	Templates []Template          `json:"templates,omitempty"` // of the templates: what they are
}

// fileUse is a file or a folder that a resource's spec names.
type fileUse struct {
	Resource int         `json:"resource"` // index in fileResult.Resources; -1 if its document has findings
	Subject  string      `json:"subject"`  // kind/name
	Path     schema.Path `json:"path"`     // of the field, below the spec
	File     string      `json:"file"`     // relative to the root of the tree
	Folder   bool        `json:"folder,omitempty"`
	Pos      schema.Pos  `json:"pos"`
}

func newChecker(limits Limits) (*checker, error) {
	c := &checker{limits: limits}
	return c, c.recycle()
}

func (c *checker) recycle() (err error) {
	c.cctx, c.kinds, err = loadSchemas(schema.FS())
	c.used = 0
	return err
}

// check checks one file, as what it is.
func (c *checker) check(in input) fileResult {
	switch {
	case in.Config != "":
		return c.config(in.Path, in.Data, in.Config)
	case in.Bundle != nil:
		return c.bundle(in)
	}
	return c.file(in.Path, in.Data)
}

// file checks one file. It never fails: what goes wrong is a finding.
func (c *checker) file(name string, data []byte) (res fileResult) {
	b := &builder{file: name, limits: c.limits}
	defer func() {
		if r := recover(); r != nil { // a fault of a parser is no reason to stop reading everything else
			b.report(1, 1, "", "this file cannot be read: %s", shorten(fmt.Sprint(r)))
			c.cctx = nil
			res.Resources, res.Uses, res.Findings, res.Broken = nil, nil, b.findings, []fragment{{}}
		}
	}()
	return c.documents(b, data)
}

// documents is file without the net under it.
func (c *checker) documents(b *builder, data []byte) (res fileResult) {
	docs, whole := b.parse(data)
	declaring := declares(data)
	res.Foreign = !declaring
	if !whole && (declaring || badText(data) >= 0) {
		res.Broken = append(res.Broken, fragment{Pos: schema.Pos{File: b.file, Line: 1, Col: 1}})
	}
	for _, p := range docs {
		c.fresh()
		c.document(&document{builder: b, checker: c, root: p.root, base: "/spec", found: p.to > p.from}, p, &res, declaring)
	}
	if len(b.findings) > 0 {
		res.Findings = bound(schema.SortDiagnostics(b.findings))
	}
	return res
}

// fresh sees to a context that has not grown too far, for one more document.
func (c *checker) fresh() {
	if c.cctx == nil || c.used >= recycleDocuments {
		if err := c.recycle(); err != nil {
			panic(err)
		}
	}
	c.used++
}

// document checks one document and adds what it yields to res.
func (c *checker) document(d *document, p parsed, res *fileResult, declaring bool) {
	d.identify()
	for i := range d.findings[p.from:p.to] {
		d.findings[p.from+i].Subject = d.subject
	}
	if d.foreign() {
		d.outsider()
		if f, may := d.stray(declaring); may {
			res.Broken = append(res.Broken, f)
		}
		return
	}
	res.Foreign = false
	c.settle(d, res)
}

// settle checks a document that is a declaration, and adds what it yields.
func (c *checker) settle(d *document, res *fileResult) {
	good := d.check()
	for _, u := range d.uses {
		u.Resource = -1
		if good {
			u.Resource = len(res.Resources)
		}
		res.Uses = append(res.Uses, u)
	}
	switch {
	case good && d.use != nil:
		d.use.Declared = d.out
		res.Unfold = append(res.Unfold, *d.use)
	case good:
		res.Resources = append(res.Resources, d.out)
	default:
		res.Broken = append(res.Broken, d.fragment())
	}
}

// outsider says of a document that nothing marks as a declaration what it is.
func (d *document) outsider() {
	msg, hint := "missing field apiVersion", "list the file in .aplombignore if it is no declaration"
	if d.subject != "" {
		hint = "write apiVersion: " + schema.APIVersion + "; or " + hint
	}
	switch d.root.kind {
	case brokenValue:
		return
	case listValue:
		msg = "a list is not a declaration, which is a mapping with apiVersion, kind and metadata"
	case mapValue:
		if d.root.partial {
			return
		}
	default:
		msg = fmt.Sprintf("%s is not a declaration, which is a mapping with apiVersion, kind and metadata", d.root.words())
	}
	d.find(d.root.pos(d.file), "", hint, "%s", msg)
}

var declaresRE = regexp.MustCompile(`(?m)^[ \t{,]*"?apiVersion"?[ \t]*:[ \t]*["']?aplomb\.dev/`)

// declares says whether text looks like declarations even where it does not
// parse, so that a broken one is never taken for data.
func declares(data []byte) bool { return declaresRE.Match(data) }

// parse reads every document of a file; false if some of it could not be read.
func (b *builder) parse(data []byte) (docs []parsed, whole bool) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if at := badText(data); at >= 0 {
		line := 1 + bytes.Count(data[:at], []byte{'\n'})
		col := at - bytes.LastIndexByte(data[:at], '\n')
		b.report(line, col, "", "%s", cmp.Or(map[bool]string{true: "a NUL byte"}[data[at] == 0], "not UTF-8"))
		return nil, false
	}
	if strings.EqualFold(path.Ext(b.file), ".json") {
		return b.parseJSON(data)
	}
	return b.parseYAML(data)
}

// badText is the offset of the first byte that is NUL or not UTF-8, or -1.
func badText(data []byte) int {
	nul := bytes.IndexByte(data, 0)
	if utf8.Valid(data) {
		return nul
	}
	for at := 0; at < len(data); {
		r, n := utf8.DecodeRune(data[at:])
		if r == 0 || r == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
	return nul
}

// bound keeps the first maxFindings and says how many are left out.
func bound(ds []schema.Diagnostic) []schema.Diagnostic {
	if len(ds) <= maxFindings {
		return ds
	}
	more := len(ds) - maxFindings
	ds = append([]schema.Diagnostic(nil), ds[:maxFindings]...)
	return append(ds, schema.Diagnostic{Pos: ds[maxFindings-1].Pos, Message: fmt.Sprintf("and %d more findings", more)})
}
