package consul

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// schemaDir is where the schemas of this driver's kinds lie.
const schemaDir = "../../../schema/consul"

// generated are the schemas that are made of the API's types.
var generated = []struct {
	file, def, kind, attrs, doc string
	of                          any
	outputs                     string
}{
	{"service-defaults", "ServiceDefaults", KindDefaults, "deadline=30s",
		"What holds of a service by itself: its protocol, how it is reached, its limits.\nA config entry, in Consul's own words.", api.ServiceConfigEntry{}, nameOutput},
	{"service-resolver", "ServiceResolver", KindResolver, "deadline=30s",
		"Which instances of a service a request goes to: subsets, redirects, failover,\nload balancing. A config entry, in Consul's own words.", api.ServiceResolverConfigEntry{}, nameOutput},
	{"service-intentions", "ServiceIntentions", KindIntentions, "deadline=30s",
		"Which services may reach a service, and with which requests. A config entry,\nin Consul's own words; one a destination, with all its sources.", api.ServiceIntentionsConfigEntry{}, nameOutput},
	{"service", "Service", KindService, "deadline=2m",
		"A service in the catalog that no agent runs, such as a database elsewhere: its\nnode, itself and its checks, in the words of /v1/catalog/register.", api.CatalogRegistration{}, serviceOutput},
	{"policy", "Policy", KindPolicy, "deadline=30s",
		"An ACL policy: rules under a name.", api.ACLPolicy{}, idOutput},
	{"role", "Role", KindRole, "deadline=30s",
		"An ACL role: policies and identities under a name.", api.ACLRole{}, idOutput},
	{"auth-method", "AuthMethod", KindAuthMethod, "deadline=30s",
		"An ACL auth method of type jwt: whose tokens Consul trusts, such as those that\nNomad gives its workloads.", api.ACLAuthMethod{}, nameOutput},
	{"binding-rule", "BindingRule", KindRule, "deadline=30s",
		"An ACL binding rule: what who logs in by an auth method may do. Consul gives\nits id.", api.ACLBindingRule{}, "\t\t// The id that Consul gave it.\n\t\tid: string\n"},
}

const (
	nameOutput    = "\t\t// The name.\n\t\tname: string\n"
	idOutput      = "\t\t// The id that Consul gave it.\n\t\tid: string\n\n\t\t// The name.\n\t\tname: string\n"
	serviceOutput = "\t\t// The node's name.\n\t\tnode: string\n\n\t\t// The service's id on its node.\n\t\tid: string\n\n\t\t// The service's name, by which it is looked up.\n\t\tservice: string\n\n" +
		"\t\t// Where it is reached: its own address, or the node's.\n\t\taddress: string\n\n\t\t// The port on which it is reached; 0 where it has none.\n\t\tport: int\n"
)

// TestSchemasAreGenerated: every field of the API's types that may be declared
// is in the schema, and nothing else. A field that is new in the API fails this
// test until it is described in fields_test.go or excluded with a reason. Where
// it fails: APLOMB_GENERATE=1 go test -run TestSchemasAreGenerated here, then go
// generate in schema/.
func TestSchemasAreGenerated(t *testing.T) {
	used := map[string]bool{}
	for _, g := range generated {
		gen := generator{t: t, used: used}
		gen.line("// Code generated from github.com/hashicorp/consul/api by TestSchemasAreGenerated. DO NOT EDIT.\n\npackage consul\n\nimport \"aplomb.dev/schema\"\n")
		for _, l := range strings.Split(g.doc, "\n") {
			gen.line("// " + l)
		}
		gen.line("#%s: {\n\t@aplomb(kind=%q, layer=mesh, %s)\n\n\tapiVersion: \"aplomb.dev/v1\"\n\tkind:       %q\n\tmetadata:   schema.#Metadata", g.def, g.kind, g.attrs, g.kind)
		gen.line("\tspec: {")
		gen.fields(reflect.TypeOf(g.of), 2)
		gen.line("\t}\n\t#outputs: {\n%s\t}\n}", g.outputs)
		path := filepath.Join(schemaDir, g.file+".cue")
		if os.Getenv("APLOMB_GENERATE") != "" {
			if err := os.WriteFile(path, []byte(gen.b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil || string(have) != gen.b.String() {
			t.Errorf("%s is not what the API's types say: %v", path, err)
		}
	}
	pair := reflect.TypeFor[api.KVPair]() // its schema is written by hand: a value has four forms
	for i := range pair.NumField() {
		name := pair.Field(i).Name
		used["KVPair."+name], used["*."+name] = true, true
		if exclusion(pair, name) == "" && name != "Key" && name != "Value" {
			t.Errorf("KVPair.%s is a field of the API, and neither described nor excluded", name)
		}
	}
	for name := range described {
		if !used[name] {
			t.Errorf("%s is described, and is no field", name)
		}
	}
	for name := range excluded {
		if !used[name] {
			t.Errorf("%s is excluded, and is no field", name)
		}
	}
}

type generator struct {
	t    *testing.T
	b    strings.Builder
	used map[string]bool
}

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

// fields writes the fields of a type.
func (g *generator) fields(of reflect.Type, depth int) {
	tab, first := strings.Repeat("\t", depth), true
	if extra := described[of.Name()]; extra.cue != "" {
		g.used[of.Name()] = true
		g.line("%s%s\n", tab, extra.cue)
	}
	for i := range of.NumField() {
		f := of.Field(i)
		name := wordFor(f)
		if of == reflect.TypeFor[api.HealthCheckDefinition]() && strings.HasSuffix(f.Name, "Duration") {
			name = strings.TrimSuffix(f.Name, "Duration")
		}
		full := of.Name() + "." + f.Name
		if _, is := excluded[full]; is {
			g.used[full] = true
		}
		if _, is := excluded["*."+f.Name]; is {
			g.used["*."+f.Name] = true
		}
		d, has := described[full]
		excepted := exclusion(of, f.Name) != "" && !has
		if excepted || name == "" {
			continue
		}
		g.used[full] = true
		if d.doc == "" {
			g.t.Errorf("%s is a field of the API, and neither described nor excluded", full)
			continue
		}
		if !first {
			g.line("")
		}
		first = false
		for _, l := range wrap(d.doc, 76-4*depth) {
			g.line("%s// %s", tab, l)
		}
		g.field(name, f.Type, d, depth)
	}
}

func (g *generator) field(name string, of reflect.Type, d description, depth int) {
	tab, mark, attr := strings.Repeat("\t", depth), "?", ""
	if d.required {
		mark = "!"
	}
	if d.address {
		attr = " @aplomb(address)"
	}
	if d.immutable {
		attr = " @aplomb(immutable)"
	}
	if d.cue != "" {
		g.line("%s%s%s: %s%s", tab, name, mark, d.cue, attr)
		return
	}
	g.b.WriteString(tab + name + mark + ": ")
	g.typ(of, depth)
	g.line("%s", attr)
}

// typ writes a type.
func (g *generator) typ(of reflect.Type, depth int) {
	tab := strings.Repeat("\t", depth)
	if of == reflect.TypeFor[time.Duration]() {
		g.b.WriteString(durationCUE)
		return
	}
	switch of.Kind() {
	case reflect.Pointer:
		g.typ(of.Elem(), depth)
	case reflect.Struct:
		g.b.WriteString("{\n")
		g.fields(of, depth+1)
		g.b.WriteString(tab + "}")
	case reflect.Slice:
		g.b.WriteString("[...")
		g.typ(of.Elem(), depth)
		g.b.WriteString("]")
	case reflect.Map:
		g.b.WriteString("{[string]: ")
		g.typ(of.Elem(), depth)
		g.b.WriteString("}")
	case reflect.Interface:
		g.b.WriteString("_")
	case reflect.Bool:
		g.b.WriteString("bool")
	case reflect.Int:
		g.b.WriteString("int & >=0 & <=2147483647")
	case reflect.Uint32:
		g.b.WriteString("int & >=0 & <=4294967295")
	case reflect.Uint64:
		g.b.WriteString("int & >=0 & <=18446744073709551615")
	case reflect.String:
		g.b.WriteString("string")
	default:
		g.t.Errorf("no CUE for %s", of)
	}
}

const durationCUE = `=~"^([0-9]+(ns|us|ms|s|m|h))+$"`

// wrap breaks a text into lines.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(text) {
		if line != "" && len(line)+1+len(w) > max(width, 40) {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + w)
	}
	return append(lines, line)
}

// TestEveryKindIsServed: what has a schema has a family, and the reverse.
func TestEveryKindIsServed(t *testing.T) {
	var have []string
	for _, g := range generated {
		have = append(have, g.kind)
	}
	have = append(have, KindKV)
	slices.Sort(have)
	want := (&Driver{}).Kinds()
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("schemas for %q, drivers for %q", have, want)
	}
}
