package compile

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

const narrower = `package ours

import "aplomb.dev/templates"

// An image of our own registry.
#Image: =~"^ours/"

#Env: {[string]: !="secret"}

#WebService: templates.#WebService & {spec: {
	count:    <=3
	image!:   #Image
	env:      #Env
	callers?: [...=~"^shop-"]
}}
#Batch: templates.#Batch
`

// What an operator asks of the input of a shipped template is told with what
// the template says itself.
func TestNarrowed(t *testing.T) {
	for _, c := range []struct{ kind, spec, want string }{
		{"WebService", `{image: ours/x, count: 3, env: {A: b}, callers: [shop-a]}`, ""},
		{"WebService", `{image: ours/x, count: 5}`, "a.yaml:4:30: WebService/w: spec.count: 5 is not an int from 0 to 1000 that is also at most 3\n"},
		{"WebService", `{image: x}`, "a.yaml:4:15: WebService/w: spec.image: \"x\" is not a string that is also an image of our own registry\n"},
		{"WebService", `{command: [x]}`, "a.yaml:4:7: WebService/w: missing field spec.image\n"},
		{"WebService", `{image: ours/x, env: {A: secret}}`, "a.yaml:4:32: WebService/w: spec.env.A: \"secret\" is not a string, a number or a bool that is also other than \"secret\"\n"},
		{"WebService", `{image: ours/x, callers: [a]}`, "a.yaml:4:33: WebService/w: spec.callers[0]: \"a\" is not a name (lower-case letters, digits and inner hyphens, at most 63) that is also a string that matches ^shop-\n"},
		{"Batch", `{image: x, secrets: {K: shop}}`, "a.yaml:4:31: Batch/w: spec.secrets.K: \"shop\" is not a secret of a SecretSet: SET/KEY\n"},
		{"Batch", `{image: x, env: {K: "@{local.secret/s.value}"}}`, "a.yaml:4:27: Batch/w: spec.env.K: @{local.secret/s.value} is a secret, and this field takes none\n" +
			"  hint: a secret flows only into a field that takes secrets: Batch takes them by name, in spec.secrets: Environment variables that are secrets: SET/KEY of a SecretSet\n"},
	} {
		res := unfoldHere(t, files("a.yaml", useOf(c.kind, "w", c.spec)), files("ours.cue", narrower), map[string]string{"platform": `"hashistack"`})
		wantTold(t, res, c.want)
	}
	all, findings, err := New(Options{}).Templates(t.Context(), Declarations{Templates: files("ours.cue", narrower)})
	if err != nil || len(findings) > 0 || len(all) != 2 {
		t.Fatal(all, findings, err)
	}
	for path, want := range map[schema.Path]string{"/count": "int & >=0 & <=1000 & <=3", "/image": "string & Image"} {
		for _, f := range all[1].Fields {
			if f.Path == path && f.Type != want {
				t.Errorf("%s: %s, want %s", path, f.Type, want)
			}
			if f.Path == "/image" && !f.Required {
				t.Errorf("%+v", f)
			}
		}
	}
	if all[0].Name != "Batch" || strings.Contains(all[0].Fields[0].Type, "&") {
		t.Errorf("%+v", all[0])
	}
}

// An attribute on what is only narrowed would do nothing.
func TestNarrowedAttributes(t *testing.T) {
	template := "package ours\n\nimport \"aplomb.dev/templates\"\n\n#Batch: templates.#Batch & {spec: cpu: <=500 @aplomb(secret)}\n"
	got := told(unfoldHere(t, files("a.yaml", useOf("Batch", "w", "{image: x}")), files("ours.cue", template), nil))
	if want := "templates:ours.cue:5:46: the template Batch: @aplomb(…) where an input is only narrowed\n"; !strings.Contains(got, want) {
		t.Errorf("findings:\n%swant:\n%s", got, want)
	}
}
