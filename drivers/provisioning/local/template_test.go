package local

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func templated(t testing.TB, body string, vars map[string]any) drivers.Desired {
	return drivers.Desired{
		Spec:  drivertest.JSON(t, map[string]any{"path": "out", "template": "dir/t.tmpl", "mode": "0644", "vars": vars}),
		Files: schema.Tree{{Path: "dir/t.tmpl", Data: []byte(body)}},
	}
}

func TestTemplateRenders(t *testing.T) {
	for body, want := range map[string]string{
		"port {{.PORT}}":                                     "port 8421",
		"{{if gt .PORT 80}}high{{end}}":                      "high",
		"{{if .ON}}on{{end}} {{.RATIO}}":                     "on 0.5",
		`{{printf "%q" .NAME}}`:                              `"shop"`,
		"{{range $i := 3}}{{$i}}{{end}}":                     "012",
		`{{define "x"}}<{{.}}>{{end}}{{template "x" .NAME}}`: "<shop>",
		"{{.NAME | html}} {{len .NAME}}":                     "shop 4",
	} {
		want2 := templated(t, body, map[string]any{"PORT": 8421, "NAME": "shop", "ON": true, "RATIO": 0.5})
		got, err := render(&want2, nil)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q %v, want %q", body, got, err, want)
		}
	}
}

func TestTemplateRefused(t *testing.T) {
	for body, says := range map[string]string{
		"a\nb {{.NOPE}}":                       "dir/t.tmpl:2:4", // as text/template counts
		"a\n\n{{if}}":                          "dir/t.tmpl:3",
		"{{range $i := 1000000000000}}{{end}}": "steps",
		`{{define "x"}}{{if .}}{{template "x" (slice . 1)}}{{template "x" (slice . 1)}}{{end}}{{end}}{{template "x" .LONG}}`: "steps",
		`{{range $i := 100000}}{{$.LONG}}{{$.LONG}}{{$.LONG}}{{$.LONG}}{{$.LONG}}{{$.LONG}}{{end}}`:                          "bytes",
		`{{$x := "aaaaaaaa"}}{{range $i := 60}}{{$x = printf "%s%s" $x $x}}{{end}}`:                                          "bytes",
		`{{$x := "aaaaaaaa"}}{{range $i := 60}}{{$x = html $x $x}}{{end}}`:                                                   "bytes",
		`{{call .NAME}}`:             "call",
		`{{template "/etc/passwd"}}`: "not defined",
	} {
		d := newDriver(t)
		r := drivertest.NewResource(t, d, FileKind, "t", templated(t, body, map[string]any{"NAME": "shop", "LONG": strings.Repeat("a", 60)}))
		_, err := d.Plan(t.Context(), r.Item, r.Observe())
		if drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v, want it to say %q", body, err, says)
		}
	}
}

func TestTemplateChanges(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "t", templated(t, "{{.A}}", map[string]any{"A": "1"}))
	r.Settle(schema.Create)
	next := templated(t, "{{.A}}", map[string]any{"A": "2"})
	r.Item.Want = &next
	c := r.Plan()
	if len(c.Diff) != 1 || c.Diff[0].Path != contentPath || string(c.Diff[0].Before) != `"1"` || string(c.Diff[0].After) != `"2"` {
		t.Fatalf("diff %s", text(t, c.Diff))
	}
	r.Settle(schema.Update)
	same := templated(t, "{{.A}}{{.UNUSED}}", map[string]any{"A": "2", "UNUSED": ""})
	r.Item.Want = &same
	if c := r.Plan(); c.Action != schema.None {
		t.Fatalf("what comes out is the same, and the action is %s", c.Action)
	}
}

func TestTemplateUnknown(t *testing.T) {
	const ref = "@{local.port/web.port}"
	d := newDriver(t)
	want := templated(t, "port={{.PORT}}{{if gt .N 3}}!{{end}}", map[string]any{"PORT": ref, "N": ref})
	want.Unknown = map[schema.Path]string{"/vars/PORT": ref, "/vars/N": ref}
	r := drivertest.NewResource(t, d, FileKind, "t", want)
	c := r.Plan()
	if c.Action != schema.Create || !c.Diff[0].Unknown || !strings.Contains(string(c.Diff[0].After), ref) {
		t.Fatalf("planned %s %s", c.Action, text(t, c.Diff))
	}
	if _, known := c.Outputs["version"]; known {
		t.Fatal("the version of an unknown content is told")
	}
	if _, err := r.Apply(c); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a change with unknowns was applied: %v", err)
	}
}

const canary = `c4n4ry "<&>" é` + "\n\t+/ tail"

func encodings(s string) []string {
	return []string{
		s, base64.StdEncoding.EncodeToString([]byte(s))[:20], base64.URLEncoding.EncodeToString([]byte(s))[:20],
		hex.EncodeToString([]byte(s)), url.QueryEscape(s), url.PathEscape(s), strings.Trim(fmt.Sprintf("%q", s), `"`),
		strings.Split(s, " ")[0], fmt.Sprint([]byte(s)),
	}
}

// A secret in a template: planned without it, applied with it, drift found and
// repaired, and never told.
func TestTemplateWithSecret(t *testing.T) {
	d := newDriver(t)
	declare := func(value string) drivers.Desired {
		want := templated(t, "user=web\npass={{.PW}}\n", map[string]any{"PW": schema.Token(drivertest.Fingerprint([]byte(value)))})
		want.Secrets = map[schema.Path]string{"/vars/PW": "@{local.secret/pw.value}"}
		return want
	}
	r := drivertest.NewResource(t, d, FileKind, "t", declare(canary))
	r.Secrets = map[schema.Path]schema.Secret{"/vars/PW": schema.NewSecret(canary)}
	var said []string
	note := func() {
		s, c := r.Observe(), r.Plan()
		said = append(said, string(s.Spec), s.Version, fmt.Sprintf("%+v %+v %#v", s, c, s.Raw), text(t, c), text(t, s.Outputs))
	}
	note()
	if c := r.Plan(); !strings.Contains(string(c.Diff[0].After), "user=web") || !schema.HasToken(string(c.Diff[0].After)) {
		t.Fatalf("the diff does not show the template around the secret: %s", text(t, c.Diff))
	}
	r.Settle(schema.Create)
	note()
	if got := readFile(t, d.Root, "out"); got != "user=web\npass="+canary+"\n" {
		t.Fatalf("content %q", got)
	}
	meddle(t, filepath.Join(d.Root, "out"), "user=web\npass="+canary+"\nextra", "0644")
	note()
	r.Settle(schema.Update)
	note()

	forgotten := *r
	forgotten.Item.Last = nil // the inventory is lost
	s, c := forgotten.Observe(), forgotten.Plan()
	said = append(said, fmt.Sprintf("%+v %+v", s, c), text(t, c))
	if c.Action != schema.Adopt {
		t.Fatalf("planned %s", c.Action)
	}

	next := declare("other")
	r.Item.Want = &next
	r.Secrets = map[schema.Path]schema.Secret{"/vars/PW": schema.NewSecret("other")}
	note()
	r.Settle(schema.Update)
	r.Item.Want = nil
	note()
	r.Settle(schema.Delete)
	for _, text := range said {
		for _, form := range encodings(canary) {
			if strings.Contains(text, form) {
				t.Fatalf("%q is in %s", form, text)
			}
		}
	}
}

func TestSecretsOfErrors(t *testing.T) {
	d := newDriver(t)
	body := `x {{if gt .PW 5}}{{end}}{{index .PW "a"}}`
	want := templated(t, body, map[string]any{"PW": schema.Token("abc")})
	want.Secrets = map[schema.Path]string{"/vars/PW": "@{local.secret/pw.value}"}
	r := drivertest.NewResource(t, d, FileKind, "t", want)
	c := r.Plan()
	_, err := r.Apply(c)
	if err == nil || drivers.Class(err) != drivers.ErrRetryable {
		t.Fatalf("applied without the secret's value: %v", err)
	}
	r.Secrets = map[schema.Path]schema.Secret{"/vars/PW": schema.NewSecret(canary)}
	_, err = r.Apply(c)
	if drivers.Class(err) != drivers.ErrPermanent || !strings.Contains(err.Error(), "dir/t.tmpl:1") || strings.Contains(fmt.Sprintf("%+v", err), "c4n4ry") {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Root, "out")); !os.IsNotExist(err) {
		t.Fatalf("something was written: %v", err)
	}
}

// The daemon died after it wrote and before it heard: what it wrote is its own
// and stays as it is.
func TestCrashAfterSecretCreate(t *testing.T) {
	d := newDriver(t)
	want := content(t, "f", schema.Token("abc"), "0600")
	want.Secrets = map[schema.Path]string{contentPath: "@{local.secret/pw.value}"}
	r := drivertest.NewResource(t, d, FileKind, "f", want)
	r.Secrets = map[schema.Path]schema.Secret{contentPath: schema.NewSecret(canary)}
	if _, err := r.Apply(r.Plan()); err != nil {
		t.Fatal(err)
	}
	r.Item.Last, r.Item.Nonce = nil, drivertest.Nonce
	again := newDriver(t)
	again.Root, again.Dir = d.Root, d.Dir
	r.Driver = again
	if c := r.Plan(); c.Action != schema.None {
		t.Fatalf("planned %s %s", c.Action, text(t, c.Diff))
	}
	meddle(t, filepath.Join(d.Root, "f"), "theirs", "0600")
	if c := r.Plan(); c.Action != schema.Adopt {
		t.Fatalf("planned %s for what somebody else wrote", c.Action)
	}
	meddle(t, filepath.Join(d.Root, "f"), canary, "0600")
	r.Item.Nonce = "another"
	if c := r.Plan(); c.Action != schema.Adopt {
		t.Fatalf("planned %s for what another change wrote", c.Action)
	}
	drivertest.Must(t, filepath.WalkDir(d.Dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.Contains(readFile(t, p), "c4n4ry") {
			t.Errorf("the plaintext is in %s", p)
		}
		return err
	}))
}

// A large content that holds a secret is told by a hash of all that it is made of:
// an approval of it is for that alone.
func TestLargeTemplateWithSecret(t *testing.T) {
	d := newDriver(t)
	shown := func(user string) string {
		want := templated(t, "user={{.USER}} pass={{.PW}}"+strings.Repeat("x", MaxShown), map[string]any{"USER": user, "PW": schema.Token(drivertest.Fingerprint([]byte(canary)))})
		want.Secrets = map[schema.Path]string{"/vars/PW": "@{local.secret/pw.value}"}
		return text(t, drivertest.NewResource(t, d, FileKind, "t", want).Plan().Diff)
	}
	if one, other := shown("ana"), shown("eve"); one == other || one != shown("ana") {
		t.Errorf("%s\n%s", one, other)
	}
}

// What a template makes of a secret is what the plan showed, with the secret
// in the place of its token; a template that looks at it is refused, so that
// nothing is written that nobody has seen.
func TestTemplateLooksAtSecret(t *testing.T) {
	for _, body := range []string{
		"{{if gt (len .PW) 40}}fine{{else}}hidden{{end}}", `{{printf "%.3s" .PW}}`, "{{len .PW}}", "{{slice .PW 1 3}}", `{{if eq .PW "` + canary + `"}}hidden{{end}}`,
	} {
		d := newDriver(t)
		want := templated(t, body, map[string]any{"PW": schema.Token(drivertest.Fingerprint([]byte(canary)))})
		want.Secrets = map[schema.Path]string{"/vars/PW": "@{local.secret/pw.value}"}
		r := drivertest.NewResource(t, d, FileKind, "t", want)
		r.Secrets = map[schema.Path]schema.Secret{"/vars/PW": schema.NewSecret(canary)}
		if _, err := r.Apply(r.Plan()); !errors.Is(err, drivers.ErrPermanent) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", body, err)
		}
		if _, err := os.Stat(filepath.Join(d.Root, "out")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written: %v", body, err)
		}
	}
}
