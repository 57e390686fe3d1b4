package tofu

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

const goodModule = `
variable "cidr" { type = string }
variable "zones" {
  type    = list(object({ name = string, size = optional(number, 3) }))
  default = []
}
variable "any" {
  default = 1
}
variable "password" {
  type      = string
  sensitive = true
  default   = ""
}
variable "open" {
  type    = string
  default = ""
}
output "id" { value = var.cidr }
output "password" {
  value     = var.password
  sensitive = true
}
`

func TestCheck(t *testing.T) {
	const cidr = `"vars":{"cidr":"10.0.0.0/8"}`
	for name, c := range map[string]struct {
		spec    string // besides the module
		files   map[string]string
		unknown schema.Path
		refused string // "" for nothing
	}{
		"good":                {cidr, nil, "", ""},
		"lists":               {`"vars":{"cidr":"x","zones":[{"name":"a"},{"name":"b","size":2}],"any":{"deep":[1]}}`, nil, "", ""},
		"converted":           {`"vars":{"cidr":5}`, nil, "", ""},
		"not known":           {`"vars":{"cidr":"@{x}"}`, nil, "/vars/cidr", ""},
		"not known within":    {`"vars":{"cidr":"x","zones":[{"name":"a","size":"@{x}"}]}`, nil, "/vars/zones/0/size", ""},
		"outputs":             {cidr + `,"outputs":{"id":{"type":"string"},"password":{"type":"string","sensitive":true}}`, nil, "", ""},
		"secret":              {cidr + `,"secretVars":{"password":"[secret:ab]"}`, nil, "", ""},
		"no value":            {`"vars":{}`, nil, "", "nets/a/main.tf:2: the variable cidr is given no value"},
		"no such variable":    {`"vars":{"cidr":"x","cider":1}`, nil, "", "vars.cider: the module nets/a has no variable cider"},
		"wrong type":          {`"vars":{"cidr":["x"]}`, nil, "", "vars.cidr: the variable wants another type: string required, but have tuple (nets/a/main.tf:2)"},
		"wrong within":        {`"vars":{"cidr":"x","zones":[{"size":2}]}`, nil, "", `vars.zones: the variable wants another type: element 0: attribute "name" is required`},
		"given twice":         {cidr + `,"secretVars":{"cidr":"x"}`, nil, "", "the variable cidr is given in vars and in secretVars"},
		"no such secret":      {cidr + `,"secretVars":{"pass":"x"}`, nil, "", "secretVars.pass: the module nets/a has no variable pass"},
		"shown":               {cidr + `,"secretVars":{"open":"x"}`, nil, "", "nets/a/main.tf:15: the variable open takes a secret and is not marked with sensitive = true"},
		"no such output":      {cidr + `,"outputs":{"ids":{}}`, nil, "", "outputs.ids: the module nets/a has no output ids"},
		"hidden output":       {cidr + `,"outputs":{"password":{"type":"string"}}`, nil, "", "nets/a/main.tf:20: the output password is sensitive"},
		"syntax":              {cidr, map[string]string{"nets/a/more.tf": "variable \"x\" {\n  type = \n}\n"}, "", "nets/a/more.tf:2: Invalid expression"},
		"syntax below":        {cidr, map[string]string{"nets/a/sub/x.tf": "}"}, "", "nets/a/sub/x.tf:1: "},
		"syntax of JSON":      {cidr, map[string]string{"nets/a/x.tf.json": "{"}, "", "nets/a/x.tf.json:1: this is no JSON"},
		"JSON":                {cidr + `,"outputs":{"j":{}}`, map[string]string{"nets/a/x.tf.json": `{"output":{"j":{"value":1}}}`}, "", ""},
		"backend":             {cidr, map[string]string{"nets/a/b.tf": "terraform {\n  backend \"s3\" {}\n}"}, "", "nets/a/b.tf:2: a block backend: aplomb keeps the state"},
		"values of its own":   {cidr, map[string]string{"nets/a/x.auto.tfvars": "cidr = 1"}, "", "nets/a/x.auto.tfvars:1: a stack takes its variables from spec.vars alone"},
		"values below":        {cidr, map[string]string{"nets/a/envs/terraform.tfvars": "cidr = 1"}, "", ""},
		"a module below":      {cidr, map[string]string{"nets/a/m.tf": "module \"m\" {\n  source = \"./sub\"\n}", "nets/a/sub/x.tf": "variable \"q\" {}"}, "", ""},
		"a module beside":     {cidr, map[string]string{"nets/a/m.tf": "module \"m\" {\n  source = \"../b\"\n}"}, "", "nets/a/m.tf:1: the module ../b lies outside"},
		"a module far":        {cidr, map[string]string{"nets/a/sub/m.tf": "module \"m\" {\n  source = \"../../b\"\n}"}, "", "lies outside"},
		"our name":            {cidr, map[string]string{"nets/a/aplomb_override.tf": ""}, "", "this name is aplomb's own"},
		"in OpenTofu's place": {cidr, map[string]string{"nets/a/aplomb_override.tofu": ""}, "", "nets/a/aplomb_override.tofu:1: this name is aplomb's own"},
		"our name, in JSON":   {cidr, map[string]string{"nets/a/aplomb_override.tf.json": "{}"}, "", "this name is aplomb's own"},
		"our name below":      {cidr, map[string]string{"nets/a/sub/aplomb_override.tofu": ""}, "", ""},
		"of another folder":   {cidr, map[string]string{"nets/b/x.tf": ""}, "", "nets/b/x.tf:0: it does not lie in"},
		"type of another age": {`"vars":{"cidr":"x","old":"y"}`, map[string]string{"nets/a/o.tf": `variable "old" { type = "string" }`}, "", ""},
	} {
		want := drivers.Desired{Spec: json.RawMessage(`{"module":"nets/a",` + c.spec + `}`), Files: tree(map[string]string{"nets/a/main.tf": goodModule}, c.files)}
		if c.unknown != "" {
			want.Unknown = map[schema.Path]string{c.unknown: "@{x}"}
		}
		err := (&Driver{}).Check(Kind, "a", want)
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		case err != nil && drivers.Class(err) != drivers.ErrPermanent:
			t.Errorf("%s: of class %v", name, drivers.Class(err))
		}
	}
	if err := (&Driver{}).Check(Kind, "a", drivers.Desired{Spec: json.RawMessage(`{"module":"nets/a"}`)}); err == nil || !strings.Contains(err.Error(), "no *.tf in nets/a") {
		t.Errorf("an empty folder: %v", err)
	}
	if (&Driver{}).Check("local.file", "a", drivers.Desired{}) == nil {
		t.Error("another kind was taken")
	}
}

func tree(sets ...map[string]string) schema.Tree {
	var all schema.Tree
	for _, set := range sets {
		for path, text := range set {
			all = append(all, schema.File{Path: path, Data: []byte(text)})
		}
	}
	return sorted(all)
}

func TestAddress(t *testing.T) {
	d := &Driver{Env: "env-1", Dir: t.TempDir(), Key: make([]byte, 32), Fingerprint: drivertest.Fingerprint}
	if h, err := d.Address(Kind, "net", nil); h != "stack/net" || err != nil {
		t.Errorf("%q, %v", h, err)
	}
	for _, handle := range []string{"", "stack/", "stack/..", "stack/a/b", "stack/.home", "other/a", "stack/a\x00"} {
		if _, err := d.stackOf(handle); err == nil {
			t.Errorf("%q names a folder", handle)
		}
	}
	for what, broken := range map[string]*Driver{
		"key": {Env: "e", Dir: d.Dir}, "folder": {Env: "e", Dir: "x", Key: d.Key}, "environment": {Env: "../x", Dir: d.Dir, Key: d.Key},
	} {
		if _, err := broken.stackOf("stack/a"); err == nil {
			t.Errorf("without a good %s there is a stack", what)
		}
	}
}
