package tofu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus/hooks/test"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema"
)

func proposalRules(t testing.TB, providers ...string) *rules {
	id := Identity{Providers: providers, Modules: []string{"https://modules.example.org/shop", "example/net/aws"}}
	drivertest.Must(t, id.Check())
	return id.rules(&tool{opentofu: true})
}

// TestJudge: what a module would run or read beyond itself is found, each with
// its place, and nothing else is.
func TestJudge(t *testing.T) {
	r := proposalRules(t, "random", "acme/*", "registry.example.org/x/y")
	for module, want := range map[string]string{ // "": it is planned
		`resource "random_pet" "x" {}`:     "",
		`resource "terraform_data" "x" {}`: "",
		`terraform {
  required_providers {
    a = { source = "acme/cloud" }
    b = { "source" = "registry.example.org/x/y", version = "1" }
  }
}
resource "a_x" "x" { provider = b.other }`: "",
		`resource "aws_x" "x" {}`:                      "m/main.tf:1: the provider registry.opentofu.org/hashicorp/aws is not among",
		`provider "aws" {}`:                            "registry.opentofu.org/hashicorp/aws is not among",
		`data "aws_x" "x" {}`:                          "registry.opentofu.org/hashicorp/aws is not among",
		`ephemeral "aws_x" "x" {}`:                     "registry.opentofu.org/hashicorp/aws is not among",
		`resource "random_x" "x" { provider = aws.a }`: "registry.opentofu.org/hashicorp/aws is not among",
		`resource "random_x" "x" { provider = "aws" }`: "names no provider",
		`output "x" { value = provider::aws::f(1) }`:   "registry.opentofu.org/hashicorp/aws is not among",
		"terraform {\n required_providers {\n" + `random = { source = "evil/random" }` + "\n }\n}\n":     "registry.opentofu.org/evil/random is not among",
		"terraform {\n required_providers {\n" + `random = { source = "a/b/c/../random" }` + "\n }\n}\n": "names no provider",
		"terraform {\n required_providers {\n" + `random = { source = "../../x" }` + "\n }\n}\n":         "names no provider",
		"terraform {\n required_providers {\n" + `random = { source = var.x }` + "\n }\n}\n":             "is not written out",
		"terraform {\n required_providers {\n" + `random = "1.0"` + "\n }\n}\n":                          "",
		`data "external" "x" {}`:                                                     "it runs a program",
		`data "http" "x" {}`:                                                         "it asks another machine",
		`data "local_file" "x" {}`:                                                   "it reads a file of the machine",
		`data "terraform_remote_state" "x" {}`:                                       "it reads another state",
		"check \"x\" {\n data \"http\" \"y\" {}\n}":                                  "m/main.tf:2: data http: it asks",
		`module "x" { source = "./sub" }`:                                            "",
		`module "x" { source = "https://modules.example.org/shop/a.zip?x=1" }`:       "",
		`module "x" { source = "example/net/aws" }`:                                  "",
		`module "x" { source = "example/net/awsevil" }`:                              "not among those that proposals may use",
		`module "x" { source = "https://modules.example.org/shop/../evil" }`:         "not among those that proposals may use",
		`module "x" { source = "git::https://evil.example/x" }`:                      "not among those that proposals may use",
		`module "x" { source = "/etc" }`:                                             "not among those that proposals may use",
		`module "x" { source = var.x }`:                                              "is not written out",
		`output "x" { value = file("a.txt") }`:                                       "",
		`output "x" { value = file("${path.module}/a.txt") }`:                        "",
		`output "x" { value = filebase64((path.module)) }`:                           "",
		`output "x" { value = fileset(path.root, "**/*.txt") }`:                      "",
		`output "x" { value = fileset(path.root, "../*") }`:                          "lies outside",
		`action "aws_x" "x" {}`:                                                      "registry.opentofu.org/hashicorp/aws is not among",
		`output "x" { value = fileset(path.root, var.x) }`:                           "is not written out",
		`output "x" { value = file("/etc/passwd") }`:                                 "file(): what it reads lies outside",
		`output "x" { value = core::file("/etc/passwd") }`:                           "lies outside",
		`output "x" { value = file("~/.ssh/id") }`:                                   "lies outside",
		`output "x" { value = file("../x") }`:                                        "lies outside",
		`output "x" { value = file("a/../../x") }`:                                   "lies outside",
		`output "x" { value = file("${path.module}/../x") }`:                         "lies outside",
		`output "x" { value = file("${path.module}x") }`:                             "is not written out",
		`output "x" { value = file(var.x) }`:                                         "is not written out",
		`output "x" { value = file("${path.module}/${var.x}") }`:                     "is not written out",
		`output "x" { value = file("${var.x}/passwd") }`:                             "is not written out",
		`output "x" { value = file(["/etc/passwd"]...) }`:                            "is not written out",
		`locals { x = { for k in [1] : k => [try(filesha256("/etc/passwd"), 1)] } }`: "lies outside",
		`variable "x" {
  validation {
    condition = fileexists("/etc/passwd")
  }
}`: "lies outside",
		`output "x" { value = nonsensitive(var.x) }`:           "shows what is secret",
		`output "x" { value = templatestring(local.x, {}) }`:   "evaluates what is not written out",
		`output "x" { value = templatefile("good.tmpl", {}) }`: "",
		`output "x" { value = templatefile("bad.tmpl", {}) }`:  "m/bad.tmpl:2: file(): what it reads lies outside",
		`output "x" { value = templatefile("self.tmpl", {}) }`: "m/self.tmpl:1: file(): what it reads lies outside",
		`output "x" { value = templatefile("deep.tmpl", {}) }`: "too large, or nested too deeply",
	} {
		files := schema.Tree{
			{Path: "m/main.tf", Data: []byte(module)}, {Path: "m/good.tmpl", Data: []byte(`${x} %{ for i in y }${upper(i)}%{ endfor }`)},
			{Path: "m/bad.tmpl", Data: []byte("x\n${file(\"/etc/passwd\")}")}, {Path: "m/self.tmpl", Data: []byte("${templatefile(\"self.tmpl\", {})} ${file(\"/x\")}")}, {Path: "m/deep.tmpl", Data: []byte("${" + strings.Repeat("(", 10000) + "1")},
		}
		got := r.judge("m", files).findings
		switch {
		case want == "" && len(got) > 0, want != "" && (len(got) == 0 || !slices.ContainsFunc(got, func(f finding) bool { return strings.Contains(f.String(), want) })):
			t.Errorf("%s\n got %v\nwant %s", module, got, want)
		}
	}
}

// TestJudgeWhole: whatever lies in the folder is judged, in whichever file.
func TestJudgeWhole(t *testing.T) {
	r := proposalRules(t, "hashicorp/random")
	got := r.judge("m", schema.Tree{
		{Path: "m/a_override.tf", Data: []byte("terraform {\n required_providers {\n" + `random = { source = "evil/random" }` + "\n }\n}\n")},
		{Path: "m/main.tf", Data: []byte("terraform {\n  required_providers { random = { source = \"hashicorp/random\" } }\n}\nresource \"random_pet\" \"x\" {}\n")},
		{Path: "m/sub/deep/x.tofu", Data: []byte(`output "x" { value = file("${path.module}/../../../x") }`)},
		{Path: "m/sub/y.tf.json", Data: []byte(`{}`)},
		{Path: "m/notes.txt", Data: []byte(`file("/etc/passwd")`)},
	})
	all := fmt.Sprint(got.findings)
	for _, want := range []string{"evil/random is not among", "x.tofu:1: file(): what it reads lies outside", "in JSON are not planned"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not found: %s", want, all)
		}
	}
	if len(got.findings) != 3 || !slices.Equal(got.providers, []string{"registry.opentofu.org/hashicorp/random"}) {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"a/b/c/d", "a//b", "../x", "a/b c"} {
		if (&Identity{Providers: []string{bad}}).Check() == nil {
			t.Errorf("%s is taken as a provider", bad)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("resource \"a_b\" \"c\" {\n x = file(\"${path.module}/x\")\n provider = a[each.key]\n}"), []byte(`${templatefile("t", {})}`))
	f.Add([]byte("terraform {\n required_providers {\n a = { source = 1 }\n }\n}\nimport {\n provider = a.b\n}\ndata \"x\" \"y\" {}"), []byte(`%{ if file("/x") }`))
	f.Add([]byte("output \"x\" {\n value = templatefile(\"t\", {})\n}"), []byte(`${templatefile("t", {})}`))
	f.Fuzz(func(t *testing.T, data, template []byte) {
		files := schema.Tree{{Path: "m/main.tf", Data: data}, {Path: "m/t", Data: template}}
		if len(readModule("m", files).findings) > 0 {
			return // it comes no further
		}
		for _, x := range proposalRules(t, "random").judge("m", files).findings {
			_ = x.String()
		}
	})
}

// FuzzProposal: whatever the sandbox says is a change without what is secret,
// or none.
func FuzzProposal(f *testing.F) {
	const secret = "a-secret-of-the-state"
	f.Add([]byte(aPlan))
	f.Add([]byte(`{"output_changes":{"o":{"actions":["create"],"after":"it is ` + secret + `"}}}`))
	f.Add([]byte(`{"resource_changes":[{"address":"t[\"` + secret + `\"]","change":{"actions":["create"],"after":{"x":1}}}],"resource_drift":[{"address":"` + secret + `","change":{"actions":["update"]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Proposals{Driver: &Driver{Fingerprint: drivertest.Fingerprint}}
		s := &stack{name: "x", handle: prefix + "x"}
		b := &behind{workspace: &workspace{}, secrets: []schema.Secret{schema.NewSecret(secret)}}
		said, _, err := p.heard(s, b, []sandbox.Result{{}, {}, {Out: data}})
		if err != nil {
			return
		}
		c := drivers.Change{}
		it := drivers.Item{Want: &drivers.Desired{Spec: []byte(`{}`)}}
		if _, err := p.told(&c, s, spec{Outputs: map[string]declaredOutput{"o": {Type: "string"}}}, b, said, it, drivers.State{}); err != nil {
			return
		}
		if text := string(drivertest.JSON(t, c)); strings.Contains(text, secret) {
			t.Errorf("it is told: %s", text)
		}
	})
}

// TestHeard: what fails is told without what is secret, and not at all where the
// tool knows the state.
func TestHeard(t *testing.T) {
	p := &Proposals{Driver: &Driver{Fingerprint: drivertest.Fingerprint}, As: Identity{Variables: map[string]func() (schema.Secret, error){
		"CLOUD_KEY": func() (schema.Secret, error) { return schema.NewSecret("the-key-of-the-cloud\n"), nil },
	}}}
	s := &stack{name: "x", handle: prefix + "x"}
	fails := []sandbox.Result{{}, {Code: 1, Out: []byte(`{"type":"diagnostic","diagnostic":{"severity":"error","summary":"No","detail":"with the-key-of-the-cloud"}}`)}}
	_, _, err := p.heard(s, &behind{workspace: &workspace{}}, fails)
	if err == nil || !strings.Contains(err.Error(), "No: with "+schema.Redacted) || drivers.Class(err) != drivers.ErrPermanent {
		t.Errorf("%v", err)
	}
	if _, _, err = p.heard(s, &behind{workspace: &workspace{}, state: []byte("{}")}, fails); err == nil || strings.Contains(err.Error(), "No") {
		t.Errorf("%v", err)
	}
	if _, _, err = p.heard(s, &behind{workspace: &workspace{}, sealed: true}, fails); err == nil || strings.Contains(err.Error(), "No") {
		t.Errorf("%v", err)
	}
	crowd := `{"output_changes":{"x":{"after":[` + strings.Repeat("{},", maxValues) + `{}]}}}`
	if _, why, err := p.heard(s, &behind{workspace: &workspace{}}, []sandbox.Result{{}, {}, {Out: []byte(crowd)}}); err != nil || !strings.Contains(why, "values") {
		t.Errorf("%q %v", why, err)
	}
	for name, ends := range map[string][]sandbox.Result{"nothing": nil, "half": {{}, {}}, "signal": {{}, {Code: -1}}, "no plan": {{}, {}, {Out: []byte("x")}}, "errored": {{}, {}, {Out: []byte(`{"errored":true}`)}}} {
		if _, _, err := p.heard(s, &behind{workspace: &workspace{}}, ends); err == nil {
			t.Errorf("%s is a plan", name)
		}
	}
	if _, why, err := p.heard(s, &behind{workspace: &workspace{}}, []sandbox.Result{{Full: true}}); err != nil || why == "" {
		t.Errorf("%s %v", why, err)
	}
}

// TestUnrun: what the machine is short of for now is tried again, and what it never
// gives is said once; in neither case it is told what that is.
func TestUnrun(t *testing.T) {
	log, hook := test.NewNullLogger()
	p := &Proposals{Driver: &Driver{Log: log}}
	s := &stack{name: "x", handle: prefix + "x"}
	_, why, err := p.unrun(s, fmt.Errorf("start a sandbox: %w: mount /a/folder: no", sandbox.ErrUnavailable))
	if err != nil || !strings.Contains(why, "no sandbox") || strings.Contains(why, "folder") {
		t.Errorf("%q %v", why, err)
	}
	_, why, err = p.unrun(s, fmt.Errorf("start a sandbox: %w: mount /a/folder: no memory", sandbox.ErrBusy))
	if why != "" || drivers.Class(err) != drivers.ErrRetryable || !strings.Contains(err.Error(), "at present") || strings.Contains(err.Error(), "folder") {
		t.Errorf("%q %v", why, err)
	}
	if n := len(hook.AllEntries()); n != 2 {
		t.Errorf("%d are logged", n)
	}
	if _, why, err = p.unrun(s, errors.New("run /bin/tofu: no such file")); why != "" || drivers.Class(err) != drivers.ErrPermanent {
		t.Errorf("%q %v", why, err)
	}
}

// TestMuchIsSecret: a plan of which too much is secret to look for all of it is not
// told.
func TestMuchIsSecret(t *testing.T) {
	p := &Proposals{Driver: &Driver{Fingerprint: drivertest.Fingerprint}}
	said := &planJSON{OutputChanges: map[string]changeJSON{"x": {Actions: []string{"create"}, After: strings.Repeat("x", maxSecret+1), AfterSensitive: true}}}
	c := drivers.Change{}
	why, err := p.told(&c, &stack{}, spec{}, &behind{workspace: &workspace{}}, said, drivers.Item{Want: &drivers.Desired{}}, drivers.State{})
	if err != nil || !strings.Contains(why, "secret") || len(c.Diff) > 0 {
		t.Errorf("%q %v %+v", why, err, c)
	}
}

// TestProvidersSeen: what is on the list and here is seen, named or not; nothing
// else is, and what is named has to be here.
func TestProvidersSeen(t *testing.T) {
	p := &Proposals{Driver: &Driver{}, As: Identity{Mirror: t.TempDir(), Providers: []string{"hashicorp/*", "acme/cloud"}}}
	for _, name := range []string{"hashicorp/random", "hashicorp/null", "evil/random"} {
		drivertest.Must(t, os.MkdirAll(filepath.Join(p.As.Mirror, "registry.opentofu.org", name, "1.0.0"), 0o755))
	}
	drivertest.Must(t, os.WriteFile(filepath.Join(p.As.Mirror, "registry.opentofu.org", "hashicorp", "file"), nil, 0o644))
	r := p.As.rules(&tool{opentofu: true})
	mounts, why := p.providers(r, []string{"registry.opentofu.org/hashicorp/random"})
	var seen []string
	for _, m := range mounts {
		seen = append(seen, strings.TrimPrefix(m.To, mirror+"/registry.opentofu.org/"))
	}
	if why != "" || !slices.Equal(seen, []string{"hashicorp/null", "hashicorp/random"}) {
		t.Errorf("%q %v", why, seen)
	}
	if _, why = p.providers(r, []string{"registry.opentofu.org/acme/cloud"}); !strings.Contains(why, "acme/cloud is not here yet") {
		t.Error(why)
	}
}
