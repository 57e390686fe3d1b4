package policy

import (
	"fmt"
	"strings"
	"testing"
)

// jobOf is a job by the text of its file, as policies are shown it.
func jobOf(text string, vars map[string]any) map[string]any {
	return map[string]any{"kind": "nomad.job", "spec": map[string]any{"hcl": "a.hcl", "vars": vars}, "files": map[string]any{"a.hcl": text}}
}

// What policies see of a job file is what Nomad would.
func TestHCLOfJob(t *testing.T) {
	in := hclOf(jobOf(`
variable "d" { default = "exec" }
variable "n" { default = 5 }
locals {
  b = "${local.a}/web:1"
  a = "r.example.org"
  loop = local.loop
}
job "web" {
  group "g" {
    task "one" {
      driver = var.d
      config { image = local.b }
      resources {
        memory = var.n
        cpu    = "7"
      }
    }
    dynamic "task" {
      for_each = [1]
      content {
        driver = task.value
        config = { image = "a:1" }
        resources { memory = task.value }
      }
    }
    task "none" {
      driver = lower("EXEC")
      env    { driver = "raw_exec" }
      config { image = local.loop }
    }
  }
}
`, map[string]any{"d": "docker"}))
	if len(in) != 1 || in[0].Unread != "" || in[0].At != "/spec/hcl" {
		t.Fatalf("%+v", in)
	}
	var got []string
	for what, all := range map[string][]hclText{"driver": in[0].Drivers, "image": in[0].Images} {
		for _, text := range all {
			got = append(got, fmt.Sprintf("%s %s %s %t", text.Where, what, text.Text, text.Literal))
		}
	}
	for _, task := range in[0].Tasks {
		got = append(got, fmt.Sprintf("%s task %s %t %t %d %d", task.Where, task.Name, task.Resources, task.Literal, task.MemoryMB, task.CPU))
	}
	want := []string{
		"a.hcl:12 driver docker true", "a.hcl:13 image r.example.org/web:1 true", "a.hcl:22 driver  false", "a.hcl:23 image  false",
		"a.hcl:28 driver  false", "a.hcl:30 image  false",
		"a.hcl:11 task one true true 5 7", "a.hcl:19 task of a dynamic block true false 0 0", "a.hcl:27 task none false true 0 0",
	}
	for _, line := range want {
		if !strings.Contains("\n"+strings.Join(got, "\n")+"\n", "\n"+line+"\n") {
			t.Errorf("%q is not in\n%s", line, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
}

// What cannot be read, or was too large to be seen, is said to be unread.
func TestHCLUnread(t *testing.T) {
	large := jobOf("", nil)
	large["unread"] = []any{"a.hcl"}
	doubling := "locals {\n  a0 = \"0123456789\"\n"
	for i := range 60 {
		doubling += fmt.Sprintf("  a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
	}
	for name, r := range map[string]map[string]any{
		"syntax": jobOf("a = = b", nil), "deep": jobOf("a = "+strings.Repeat("[", 1000), nil), "large": large,
		"vault": {"kind": "vault.policy", "spec": map[string]any{"policy": "path \"a\" {"}},
	} {
		if in := hclOf(r); len(in) != 1 || in[0].Unread == "" {
			t.Errorf("%s: %+v", name, in)
		}
	}
	if in := hclOf(jobOf(doubling+"}\ndriver = local.a60", nil)); in[0].Unread != "" || in[0].Drivers[0].Literal {
		t.Errorf("locals that grow: %+v", in)
	}
	if in := hclOf(map[string]any{"kind": "local.file"}); in != nil {
		t.Errorf("a file has HCL: %+v", in)
	}
}

// FuzzHCL: whatever the text is, it is read or said not to be.
func FuzzHCL(f *testing.F) {
	for _, s := range []string{"", "path \"a\" {}", `{"path":{"a":{}}}`, `{"path":[{"a":[1]}]}`, "task \"a\" {\n driver = var.a\n}", "locals {\n a = local.b\n b = local.a\n}", "path = \"\\uZ\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range []map[string]any{jobOf(text, map[string]any{"a": "b"}), {"kind": "vault.policy", "spec": map[string]any{"policy": text}}} {
			in := hclOf(r)
			if len(in) != 1 || in[0].Unread != "" && len(in[0].Drivers)+len(in[0].Paths) > 0 {
				t.Errorf("%+v", in)
			}
		}
	})
}
