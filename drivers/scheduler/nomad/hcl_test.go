package nomad

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	env    = "env-1"
	jobHCL = `
variable "count" {
  type    = number
  default = 1
}

variable "team" {
  type = string
}

job "$NAME" {
  type = "service"
  meta { team = var.team }
  update {
    min_healthy_time  = "10ms"
    healthy_deadline  = "20s"
    progress_deadline = "30s"
  }
  group "web" {
    count = var.count
    task "sleep" {
      driver       = "raw_exec"
      kill_timeout = "1s"
      config {
        command = "/bin/sleep"
        args    = ["3600"]
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
`
)

// oneFile is a file for one job.
func oneFile(text string) schema.Tree {
	return schema.Tree{{Path: "web.nomad.hcl", Data: []byte(text)}}
}

func TestCheckHCL(t *testing.T) {
	good := strings.ReplaceAll(jobHCL, "$NAME", "web")
	with := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	for name, c := range map[string]struct{ text, spec, want string }{
		"good":             {good, `"vars":{"team":"shop"}`, ""},
		"every variable":   {good, `"vars":{"team":"shop","count":3}`, ""},
		"no variables":     {good, `"vars":{}`, "web.nomad.hcl:7: the variable team has no default"},
		"none given":       {good, `"id":"web"`, "web.nomad.hcl:7: the variable team has no default"},
		"unknown variable": {good, `"vars":{"team":"shop","cuont":3}`, "it has no variable cuont, which vars gives; did you mean count?"},
		"bad name":         {good, `"vars":{"team":"shop","a b":3}`, "not a name that a variable can have"},
		"other label":      {with(`job "web"`, `job "shop"`), `"vars":{"team":"x"}`, `web.nomad.hcl:11: the job calls itself "shop", and is declared as "web"`},
		"id":               {with(`job "web" {`, "job \"x\" {\n  id = \"web\""), `"vars":{"team":"x"}`, ""},
		"other id":         {with(`job "web" {`, "job \"web\" {\n  id = \"x\""), `"vars":{"team":"x"}`, `web.nomad.hcl:12: the job calls itself "x"`},
		"declared id":      {with(`job "web"`, `job "shop"`), `"id":"shop","vars":{"team":"x"}`, ""},
		"other namespace":  {with(`job "web" {`, "job \"web\" {\n  namespace = \"a\""), `"vars":{"team":"x"}`, `web.nomad.hcl:12: the job says namespace "a", and is declared in "default"`},
		"namespace":        {with(`job "web" {`, "job \"web\" {\n  namespace = \"a\""), `"namespace":"a","vars":{"team":"x"}`, ""},
		"syntax":           {with(`job "web" {`, `job "web" {{`), `"vars":{"team":"x"}`, "web.nomad.hcl:11: "},
		"no job":           {`variable "a" {}`, `"id":"web"`, "it has no job block"},
		"two jobs":         {good + good[strings.Index(good, "job "):], `"vars":{"team":"x"}`, "a second job: the first is in line 11"},
		"two variables":    {"variable \"team\" {}\n" + good, `"vars":{"team":"x"}`, "web.nomad.hcl:8: the variable team stands twice: first in line 1"},
		"another block":    {"provider \"x\" {}\n" + good, `"vars":{"team":"x"}`, "web.nomad.hcl:1: provider is no block of a job file"},
		"an attribute":     {"a = 1\n" + good, `"vars":{"team":"x"}`, "web.nomad.hcl:1: a stands outside of a block"},
		"file()":           {with(`["3600"]`, `[file("/etc/passwd")]`), `"vars":{"team":"x"}`, "web.nomad.hcl:26: file() reads the machine"},
		"deep file()":      {with(`["3600"]`, "[\"${upper(join(\",\", [for f in fileset(\".\", \"*\") : f]))}\"]"), `"vars":{"team":"x"}`, "fileset() reads the machine"},
		"a default":        {with(`default = 1`, `default = filebase64("x")`), `"vars":{"team":"x"}`, "filebase64() reads the machine"},
		"type":             {with(`type = string`, `type = strign`), `"vars":{"team":"x"}`, "web.nomad.hcl:8: "},
		"deep":             {"job \"web\" {\n a = " + strings.Repeat("[", 300) + strings.Repeat("]", 300) + "\n}", `"id":"web"`, "nested too deeply"},
		"signs":            {"job \"web\" {\n a = " + strings.Repeat("!", 300) + "true\n}", `"id":"web"`, "nested too deeply"},
		"conditions":       {"job \"web\" {\n a = (" + strings.Repeat("a ? b :\n", 6000) + "c)\n}", `"id":"web"`, "nested too deeply"},
		"directives":       {"job \"web\" {\n a = \"" + strings.Repeat("%{if a}", 6000) + "\"\n}", `"id":"web"`, "nested too deeply"},
		"a long sum":       {"job \"web\" {\n a = 1" + strings.Repeat("+1", maxHCL/2-100) + "\n}", `"id":"web"`, ""},
		"many indices":     {"job \"web\" {\n a = a" + strings.Repeat("[b]", maxHCL/3-100) + "\n}", `"id":"web"`, ""},
		"large":            {"# " + strings.Repeat("x", maxHCL), `"id":"web"`, "larger than"},
	} {
		err := (&Driver{}).Check(KindJob, "web", drivers.Desired{Spec: json.RawMessage(`{"hcl":"web.nomad.hcl",` + c.spec + `}`), Files: oneFile(c.text)})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		if err != nil && drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("%s: its class is %v", name, drivers.Class(err))
		}
	}
}

func TestTakesText(t *testing.T) {
	const head = `job "web" {}` + "\n"
	for decl, c := range map[string]struct {
		path schema.Path
		want bool
	}{
		`type = string`:               {"/vars/a", true},
		`type = number`:               {"/vars/a", false},
		`type = bool`:                 {"/vars/a", false},
		`type = any`:                  {"/vars/a", true},
		`description = "x"`:           {"/vars/a", true},
		`default = "x"`:               {"/vars/a", true},
		`default = 1`:                 {"/vars/a", false},
		`type = list(string)`:         {"/vars/a/0", true},
		`type = list(number)`:         {"/vars/a/0", false},
		`type = map(list(string))`:    {"/vars/a/x/1", true},
		`type = object({b = string})`: {"/vars/a/b", true},
		`type = object({c = string})`: {"/vars/a/b", false},
		`type = list(any)`:            {"/vars/a/0/x", true},
		`type = set(string)`:          {"/vars/a", false},
		`type = tuple([string])`:      {"/vars/b", false},
	} {
		f, err := readHCL("f", fmt.Appendf(nil, "%svariable \"a\" {\n%s\n}\n", head, decl))
		if err != nil {
			t.Errorf("%s: %v", decl, err)
			continue
		}
		if got := f.takesText(c.path); got != c.want {
			t.Errorf("%s at %s: %t", decl, c.path, got)
		}
	}
}

func TestVarsText(t *testing.T) {
	vars, err := varsOf(json.RawMessage(`{"s":"a ${b} %{c} \"d\"\n","n":1.5,"big":9007199254740993,"b":true,"l":["x",1,[]],"m":{"k":{"v":null},"a b":1},"z":null}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "b   = true\nbig = 9007199254740993\nl   = [\"x\", 1, []]\nm = {\n  \"a b\" = 1\n  k = {\n    v = null\n  }\n}\nn = 1.5\ns = \"a $${b} %%{c} \\\"d\\\"\\n\"\nz = null\n"
	if got := string(varsText(vars)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// FuzzHCL: no file of somebody else ends the process, and of a file that is
// taken everything that is asked can be told.
func FuzzHCL(f *testing.F) {
	for _, seed := range []string{jobHCL, `job "a" {}`, "job \"a\" {\n x = <<E\n${f(1)}\nE\n}", strings.Repeat("{", 400), `variable "a" { type = list(object({b=any})) }` + "\n" + `job "a" {}`} {
		f.Add([]byte(seed), "/vars/a/0/b", `{"a":[1]}`)
	}
	f.Fuzz(func(t *testing.T, data []byte, path, vars string) {
		file, err := readHCL("f", data)
		if err != nil {
			if len(err.Error()) > 3*2000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if strings.HasPrefix(path, "/") {
			file.takesText(schema.Path(path))
		}
		_ = file.check(place{KindJob, "default", "a"}, json.RawMessage(vars)) // it only must not panic
	})
}

// FuzzVars: values of JSON become values of HCL, and nothing else.
func FuzzVars(f *testing.F) {
	f.Add([]byte(`{"a":"${file(\"/etc/passwd\")}","b":[1,{"c":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := varsOf(data)
		if err != nil {
			return
		}
		text := varsText(vars)
		if len(vars) == 0 {
			return
		}
		if _, err := readHCL("f", append([]byte("job \"a\" {\n}\nlocals {\n"), append(text, '}')...)); err != nil && !strings.Contains(err.Error(), "deeper") {
			t.Fatalf("%s became %s: %v", data, text, err)
		}
	})
}
