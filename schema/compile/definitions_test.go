package compile

import (
	"strings"
	"testing"
	"testing/fstest"
)

const aJob = `apiVersion: aplomb.dev/v1
kind: nomad.job
metadata: {name: web}
spec:
  job:
    TaskGroups:
      - Name: web
        Count: 2
        Tasks:
          - Name: server
            Driver: docker
            KillTimeout: 30s
            Env: {PORT: "@{local.port/p.port}0"}
            Config:
              image: nginx
              ports: [http, {deep: "@{local.port/p.address}"}]
`

// References are found below a definition, and in what has no shape.
func TestDefinitions(t *testing.T) {
	port := "---\napiVersion: aplomb.dev/v1\nkind: local.port\nmetadata: {name: p}\n"
	res := compileHere(t, files("a.yaml", aJob+port))
	if len(res.Resources) != 2 || len(res.Findings) > 0 {
		t.Fatalf("%d resources, %v", len(res.Resources), res.Findings)
	}
	job := res.Resources[0]
	var paths []string
	for _, r := range job.Refs {
		paths = append(paths, string(r.Path))
	}
	if got := strings.Join(paths, " "); got != "/job/TaskGroups/0/Tasks/0/Config/ports/1/deep /job/TaskGroups/0/Tasks/0/Env/PORT" {
		t.Errorf("references at %s", got)
	}
	const want = `{"job":{"TaskGroups":[{"Count":2,"Name":"web","Tasks":[{"Config":{"image":"nginx","ports":["http",{"deep":"@{local.port/p.address}"}]},"Driver":"docker","Env":{"PORT":"@{local.port/p.port}0"},"KillTimeout":"30s","Name":"server"}]}]}}`
	if string(job.Spec) != want {
		t.Errorf("spec %s", job.Spec)
	}
}

func TestDefinitionsAreChecked(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"Count: 2", "Cuont: 2", "a.yaml:8:9: nomad.job/web: unknown field spec.job.TaskGroups[0].Cuont"},
		{"Count: 2", "Count: two", `a.yaml:8:16: nomad.job/web: spec.job.TaskGroups[0].Count: "two" is not an int`},
		{"KillTimeout: 30s", "KillTimeout: 30 s", "a.yaml:12:26: nomad.job/web: spec.job.TaskGroups[0].Tasks[0].KillTimeout: "},
		{"image: nginx", `"@{x}": nginx`, "a key cannot hold a reference"},
		{"  job:", "  hcl: ./x\n  job:", "exactly one of spec.hcl and spec.job must be there"},
		{"- Name: server", "- just a text", "a.yaml:10:13: "},
		{"image: nginx", "image: {a: [1, null, x]}", ""},
		{"KillTimeout: 30s", "KillTimeout: 30000000000", ""},
	} {
		port := "---\napiVersion: aplomb.dev/v1\nkind: local.port\nmetadata: {name: p}\n"
		text := strings.Replace(aJob, c.from, c.to, 1)
		if c.to == "- just a text" { // and nothing of the task below it
			text = strings.Split(text, c.to)[0] + c.to + "\n"
		}
		var said []string
		for _, f := range compileHere(t, files("a.yaml", text+port)).Findings {
			said = append(said, f.String())
		}
		if all := strings.Join(said, "\n"); !strings.Contains(all, c.want) || c.want == "" && all != "" {
			t.Errorf("%s: %s\nwant %s", c.to, all, c.want)
		}
	}
}

// A definition without an end is refused, not read for ever.
func TestDefinitionsEnd(t *testing.T) {
	module := fstest.MapFS{
		"cue.mod/module.cue": {Data: []byte("module: \"aplomb.dev/schema\"\nlanguage: version: \"v0.9.0\"\n")},
		"x/x.cue": {Data: []byte(`package x

#Thing: {
	@aplomb(kind="x.thing", layer=mesh, deadline=1m)
	spec: {
		tree?: #Tree
	}
	#outputs: {
		a: string
	}
}

#Tree: {
	below?: #Tree
}
`)},
	}
	if _, _, err := loadSchemas(module); err == nil || !strings.Contains(err.Error(), "#Tree is defined by itself") {
		t.Errorf("%v", err)
	}
}
