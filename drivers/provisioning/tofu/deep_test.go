package tofu

import (
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

// TestDeepModules: whatever a repository holds, the process lives.
func TestDeepModules(t *testing.T) {
	const n = 1 << 19
	for name, text := range map[string]string{
		"parens": "x = " + strings.Repeat("(", n), "lists": "x = " + strings.Repeat("[", n), "objects": "x = " + strings.Repeat("{a=", n/3),
		"templates": `x = ` + strings.Repeat(`"${`, n/3), "not": "x = " + strings.Repeat("!", n) + "true", "minus": "x = " + strings.Repeat("-", n) + "1",
		"conditions": "x = " + strings.Repeat("a?b:", n/4) + "c", "blocks": strings.Repeat("a {\n", n/4), "splat": "variable \"v\" {\n type = a" + strings.Repeat("[*]", n/3) + "\n}",
		"for": "x = " + strings.Repeat("[for a in ", n/10), "if": `x = "` + strings.Repeat("%{if a}", n/7) + `"`,
		"binary": "variable \"v\" {\n type = 1" + strings.Repeat("+1", n/32) + "\n}", "lines": "x = (" + strings.Repeat("!\n", n/2) + "true)", "comments": "x = " + strings.Repeat("!/**/", n/5) + "true",
		"unclosed": "x = " + strings.Repeat("[)", n/2), "closed": strings.Repeat("]", n/2) + "x = " + strings.Repeat("[", n/2),
		"calls": "x = " + strings.Repeat("f(", n/2), "index": "x = " + strings.Repeat("a[", n/2),
	} {
		began := time.Now()
		m := readModule("m", schema.Tree{{Path: "m/main.tf", Data: []byte(text)}})
		if took := time.Since(began); len(m.findings) == 0 && name != "binary" || took > time.Minute {
			t.Errorf("%s: %d findings in %s", name, len(m.findings), took)
		}
	}
	j := readModule("m", schema.Tree{{Path: "m/main.tf.json", Data: []byte(`{"a":` + strings.Repeat("[", n))}})
	if len(j.findings) == 0 {
		t.Error("JSON: no finding")
	}
}
