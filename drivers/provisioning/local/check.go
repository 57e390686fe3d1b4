package local

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

var (
	_ drivers.Checker = (*Driver)(nil)
	_ drivers.Claimer = (*Driver)(nil)
)

// Check says what is wrong with a declaration, without looking at anything.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	switch kind {
	case FileKind:
		return checkFile(&want)
	case PortKind:
		_, err := d.wantedPort(drivers.Item{Handle: portPrefix + name, Want: &want})
		return err
	default:
		return unserved(kind)
	}
}

// checkFile makes the content, if all of it is known. Otherwise the template
// must at least parse, and what it uses in any case must be there.
func checkFile(want *drivers.Desired) error {
	if len(want.Unknown) == 0 {
		_, err := render(want, nil)
		return err
	}
	var s fileSpec
	if err := driverkit.Decode(want, &s); err != nil {
		return driverkit.Refuse("read", FileKind, err, "")
	}
	if s.Template == "" {
		return nil
	}
	file, err := templateOf(want, s.Template)
	if err != nil {
		return err
	}
	vars, err := varsOf(want.Spec, nil)
	if err != nil {
		return err
	}
	t, err := parseTemplate(file, &budget{})
	if err != nil || t.Tree == nil {
		return err
	}
	for _, name := range used(t.Root, nil) {
		if _, ok := vars[name]; !ok {
			return driverkit.Refuse("run", file.Path, fmt.Errorf("the template uses .%s, which is not in vars", name), hintVars(name, vars))
		}
	}
	return nil
}

func hintVars(name string, vars map[string]any) string {
	if near := schema.Closest(name, slices.Collect(maps.Keys(vars))); near != "" {
		return "did you mean ." + near + "?"
	}
	return "every .NAME of a template must be in vars"
}

// used adds the names that a list of a template asks its vars for in any case:
// not in the branches of a condition, nor where the dot is another one.
func used(list *parse.ListNode, names []string) []string {
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			names = usedIn(n.Pipe, names)
		case *parse.IfNode:
			names = usedIn(n.Pipe, names)
		case *parse.WithNode:
			names = usedIn(n.Pipe, names)
		case *parse.RangeNode:
			names = usedIn(n.Pipe, names)
		case *parse.TemplateNode:
			names = usedIn(n.Pipe, names)
		}
	}
	return names
}

func usedIn(pipe *parse.PipeNode, names []string) []string {
	if pipe == nil {
		return names
	}
	for _, c := range pipe.Cmds {
		args := c.Args
		if f, ok := args[0].(*parse.IdentifierNode); ok && (f.Ident == "and" || f.Ident == "or") {
			args = args[:min(2, len(args))] // the others may never be asked for
		}
		for _, a := range args {
			switch a := a.(type) {
			case *parse.FieldNode:
				names = append(names, a.Ident[0])
			case *parse.VariableNode:
				if a.Ident[0] == "$" && len(a.Ident) > 1 {
					names = append(names, a.Ident[1])
				}
			case *parse.PipeNode:
				names = usedIn(a, names)
			}
		}
	}
	return names
}

// parseTemplate reads a template whose functions are bounded by b.
func parseTemplate(file schema.File, b *budget) (*template.Template, error) {
	t, err := template.New(file.Path).Option("missingkey=error").Funcs(b.funcs()).Parse(string(file.Data))
	if err != nil {
		return nil, driverkit.Refuse("parse", file.Path, errors.New(strings.TrimPrefix(err.Error(), "template: ")), "")
	}
	return t, nil
}

// Claims are the folders that a file needs to be folders, and the fixed number
// of a port.
func (d *Driver) Claims(kind, name string, want drivers.Desired) []drivers.Claim {
	switch kind {
	case FileKind:
		return d.fileClaims(want)
	case PortKind:
		return d.portClaims(name, want)
	default:
		return nil
	}
}

func (d *Driver) fileClaims(want drivers.Desired) []drivers.Claim {
	handle, err := d.fileAddress(want.Spec)
	if err != nil {
		return nil
	}
	at, err := d.place(handle)
	if err != nil {
		return nil
	}
	name := func(rel string) string {
		if at.base == d.Root {
			return "path " + rel
		}
		return "path " + place{at.base, rel}.abs()
	}
	claims := []drivers.Claim{{Thing: name(at.rel)}}
	for dir := path.Dir(at.rel); dir != "."; dir = path.Dir(dir) {
		claims = append(claims, drivers.Claim{Thing: name(dir), Shared: true})
	}
	return claims
}

// portClaims: a number on all addresses leaves none for anybody else.
func (d *Driver) portClaims(name string, want drivers.Desired) []drivers.Claim {
	p, err := d.wantedPort(drivers.Item{Handle: portPrefix + name, Want: &want})
	if err != nil || !p.Fixed || p.Host == "" {
		return nil
	}
	host := p.Host
	if host == "localhost" {
		host = "127.0.0.1"
	}
	number := fmt.Sprintf("port %d", p.Port)
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
		return []drivers.Claim{{Thing: number}}
	}
	return []drivers.Claim{{Thing: number, Shared: true}, {Thing: number + " of " + host}}
}
