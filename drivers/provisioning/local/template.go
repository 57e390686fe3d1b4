package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/url"
	"regexp"
	"text/template"
	"text/template/parse"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// maxSteps bounds how often the loops and the named templates of one template
// run, all together.
const maxSteps = 100_000

// render makes the content that is declared. secrets holds the whole string of
// every field that has one; while planning it is nil, and tokens stand there.
func render(want *drivers.Desired, secrets map[schema.Path]schema.Secret) ([]byte, error) {
	var s fileSpec
	spec := *want
	if secrets == nil {
		spec.Unknown = maps.Clone(want.Unknown)
		maps.DeleteFunc(spec.Unknown, func(p schema.Path, _ string) bool { return isSource(p) }) // their texts stand there
	}
	if err := driverkit.Decode(&spec, &s); err != nil {
		return nil, driverkit.Refuse("read", FileKind, err, "")
	}
	vars, err := varsOf(spec.Spec, secrets)
	if err != nil {
		return nil, err
	}
	if s.Template == "" {
		return plain(s, secrets)
	}
	file, err := templateOf(want, s.Template)
	if err != nil {
		return nil, err
	}
	return execute(file, vars, len(secrets) > 0)
}

func plain(s fileSpec, secrets map[schema.Path]schema.Secret) ([]byte, error) {
	if s.Content == nil {
		return nil, driverkit.Refuse("read", FileKind, errors.New("neither content nor template"), "")
	}
	text := *s.Content
	if v, ok := secrets[contentPath]; ok {
		text = v.Reveal()
	}
	if len(text) > MaxFile {
		return nil, driverkit.Refuse("read", "content", fmt.Errorf("%d bytes (at most %d)", len(text), MaxFile), "")
	}
	return []byte(text), nil
}

// varsOf are the vars as a template sees them: whole numbers as int64, so that
// they compare with the template's own.
func varsOf(spec json.RawMessage, secrets map[schema.Path]schema.Secret) (map[string]any, error) {
	tree, err := driverkit.Tree(spec)
	if err != nil {
		return nil, driverkit.Refuse("read", FileKind, err, "")
	}
	words, _ := tree.(map[string]any)
	vars, _ := words["vars"].(map[string]any)
	for name, v := range vars {
		if secret, ok := secrets[varsPath.Child(name)]; ok {
			vars[name] = secret.Reveal()
		} else if n, ok := v.(json.Number); ok {
			vars[name] = number(n)
		}
	}
	return vars, nil
}

func number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if f, err := n.Float64(); err == nil {
		return f
	}
	return n.String()
}

var errTooMuch = errors.New("the template does too much")

// budget bounds one run of a template: what it writes, what its functions
// make on the way, and how often its loops turn.
type budget struct {
	out   bytes.Buffer
	made  int
	steps int
}

func (b *budget) Write(p []byte) (int, error) {
	if b.out.Len()+len(p) > MaxFile {
		return 0, fmt.Errorf("%w: more than %d bytes", errTooMuch, MaxFile)
	}
	return b.out.Write(p)
}

func (b *budget) step() (string, error) {
	if b.steps++; b.steps > maxSteps {
		return "", fmt.Errorf("%w: more than %d steps", errTooMuch, maxSteps)
	}
	return "", nil
}

func (b *budget) text(s string) (string, error) {
	if b.made += len(s); b.made > 4*MaxFile {
		return "", fmt.Errorf("%w: more than %d bytes on the way", errTooMuch, 4*MaxFile)
	}
	return s, nil
}

// placeRE finds file:line:col at the start of an error of a template.
var placeRE = regexp.MustCompile(`^template: .*?:[0-9]+(:[0-9]+)?`)

const stepFunc = "aplombStep"

// funcs stand in for the built-in functions that make text.
func (b *budget) funcs() template.FuncMap {
	return template.FuncMap{
		stepFunc:   b.step,
		"print":    func(v ...any) (string, error) { return b.text(fmt.Sprint(v...)) },
		"println":  func(v ...any) (string, error) { return b.text(fmt.Sprintln(v...)) },
		"printf":   func(f string, v ...any) (string, error) { return b.text(fmt.Sprintf(f, v...)) },
		"html":     func(v ...any) (string, error) { return b.text(html.EscapeString(fmt.Sprint(v...))) },
		"js":       func(v ...any) (string, error) { return b.text(template.JSEscapeString(fmt.Sprint(v...))) },
		"urlquery": func(v ...any) (string, error) { return b.text(url.QueryEscape(fmt.Sprint(v...))) },
		"call":     func() (string, error) { return "", errors.New("there is nothing to call") },
	}
}

// execute runs a template. With secret vars, an error tells the place only:
// its text may repeat values.
func execute(file schema.File, vars map[string]any, secret bool) ([]byte, error) {
	b := &budget{}
	t, err := parseTemplate(file, b)
	if err != nil {
		return nil, err
	}
	meter(t)
	if vars == nil {
		vars = map[string]any{}
	}
	if err := t.Execute(b, vars); err != nil {
		if secret && !errors.Is(err, errTooMuch) {
			err = errors.New(placeRE.FindString(err.Error()) + ": the template does not fit its vars")
		}
		return nil, driverkit.Refuse("run", file.Path, err, "every .NAME of a template must be in vars")
	}
	return b.out.Bytes(), nil
}

// meter makes every turn of a loop and every run of a named template count.
func meter(t *template.Template) {
	for _, each := range t.Templates() {
		if each.Tree != nil {
			meterList(each.Root)
			count(each.Root)
		}
	}
}

func meterList(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			meterList(n.List)
			meterList(n.ElseList)
			count(n.List)
		case *parse.IfNode:
			meterList(n.List)
			meterList(n.ElseList)
		case *parse.WithNode:
			meterList(n.List)
			meterList(n.ElseList)
		}
	}
}

func count(list *parse.ListNode) {
	id := parse.NewIdentifier(stepFunc).SetPos(list.Pos)
	command := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: list.Pos, Args: []parse.Node{id}}
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: list.Pos, Cmds: []*parse.CommandNode{command}}
	action := &parse.ActionNode{NodeType: parse.NodeAction, Pos: list.Pos, Pipe: pipe}
	list.Nodes = append([]parse.Node{action}, list.Nodes...)
}
