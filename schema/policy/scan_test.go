package policy

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

// secret puts a text together, so that this file holds nothing that looks like
// one.
func secret(parts ...string) string { return strings.Join(parts, "") }

func TestScanFinds(t *testing.T) {
	for _, c := range []struct{ text, key, want string }{
		{secret("-----BEGIN RSA ", "PRIVATE KEY-----\nMII"), "", "a private key"},
		{secret("-----BEGIN ", "PRIVATE KEY-----"), "", "a private key"},
		{secret("id=AKIA", "IOSFODNN7EXAMPLE"), "", "an AWS access key"},
		{secret("ghp_", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"), "", "a GitHub token"},
		{secret("glpat-", "abcdefghij0123456789"), "", "a GitLab token"},
		{secret("xoxb-", "123456789012-abcdef"), "", "a Slack token"},
		{secret("sk_live_", "abcdefghijklmnop0123"), "", "a Stripe key"},
		{secret("hvs.", "CAESIJ4nTq2vYw8LkXzQ"), "", "a Vault token"},
		{secret("token: eyJhbGciOiJIUzI1NiJ9", ".eyJzdWIiOiIxMjM0NTY3ODkwIn0", ".dozjgNryP4J3jVmNHl0w5N"), "", "a JSON web token"},
		{"postgres://app:hunter22@db:5432/shop", "", "a password in a URL"},
		{"tr0ub4dor&3", "DB_PASSWORD", "the value of DB_PASSWORD"},
		{"9a8B7c6D5e", "apiKey", "the value of apiKey"},
		{secret("wJalrXUtnFEMI7K7MDENG", "2bPxRfiCYq9EXAMP1EKEY"), "", "a random text"},
		{secret("secret = \"q7Zr3LkP9sXw2V", "b8Nf5Tj1Hd6Gm4Yc0R\""), "", "a random text"},
	} {
		if got, _ := scan(c.text, c.key); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.key, c.text, got, c.want)
		}
	}
}

// What is public, or stands for a secret, is none.
func TestScanPasses(t *testing.T) {
	certificate := "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ3Zr9sD8fKq2W1xH7bTjP0yNnLwwCgYIKoZIzj0EAwIw\nQ3Zr9sD8fKq2W1xH7bTjP0yNnLwwCgYI\n-----END CERTIFICATE-----\n"
	for _, c := range []struct{ text, key string }{
		{"da39a3ee5e6b4b0d3255bfef95601890afd80709", ""},                                           // a commit
		{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", ""},                   // SHA-256
		{"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", ""},                   // likewise
		{"7f3a1c9e-4b1d-4f0a-9c57-2f1e6a3d8b90", "id"},                                             // a UUID
		{"nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "image"}, // an image
		{"sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rlHhpHq6vQ0yWvP4G6z3h2xQ1Zb", "integrity"},   // of a script
		{"h1:2nXGZ9dKq7F3hR8sJ5LwPcVbM4tYxA6eU1oN0iDkQ2g=", ""},                                    // go.sum
		{certificate, "content"}, //
		{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ana", ""}, // a public key
		{"AAAAB3NzaC1yc2EAAAADAQABAAABgQC7xF9Zr3LkP2sXw8Vb", ""},                                     //
		{"@{local.secret/db.value}", "PASSWORD"},
		{"${DB_PASSWORD}", "password"},
		{"{{ with secret \"db\" }}{{ .Data.password }}{{ end }}", "password"},
		{"/run/secrets/db", "password"},
		{"vault.kv/web", "secret"},
		{"database-password", "secret"},
		{"changes-the-way", "token"},
		{"true", "token"},
		{"postgres://app:@{local.secret/db.value}@db/shop", ""},
		{"postgres://app:${PASSWORD}@db/shop", ""},
		{"https://git.example.org/fleet.git", ""},
		{"https://user@example.org:8443/a", ""},
		{"environments/production/services/web-frontend/deployment.nomad.hcl", ""},
		{"ThisIsAVeryLongIdentifierNameForAClass2", ""},
		{"arn:aws:iam::123456789012:role/service-role/MyLambdaExecutionRole", ""},
		{"com.example.shop.ConfigurationManagerFactoryBean", ""},
		{"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", ""},
		{"2026-11-28T18:00:00.000Z 192.168.100.200 2001:0db8:85a3:0000:0000:8a2e:0370:7334", ""},
		{"the quick brown fox jumps over the lazy dog", "passphrase"},
		{strings.Repeat("=", 80), ""},
	} {
		if got, _ := scan(c.text, c.key); got != "" {
			t.Errorf("%s %q is taken for %s", c.key, c.text, got)
		}
	}
}

// A line that sets something telling to a literal has a secret, in whatever
// language it is; one that refers to where the secret is has none.
func TestAssignment(t *testing.T) {
	for line, want := range map[string]string{
		`    DB_PASSWORD = "tr0ub4dor3x"`:              "DB_PASSWORD",
		`DB_PASSWORD=tr0ub4dor3x`:                      "DB_PASSWORD",
		`export DB_PASSWORD='tr0ub4dor3x' # it`:        "DB_PASSWORD",
		`  "apiKey": "9a8B7c6D5e",`:                    "apiKey",
		`- token: 9a8B7c6D5e`:                          "token",
		`env { client_secret = "9a8B7c6D5e" }`:         "client_secret",
		`db.password: tr0ub4dor3x`:                     "db.password",
		`{"user":"a","password":"tr0ub4dor3x"}`:        "password",
		`password = var.password_2024`:                 "",
		`password = "${var.password_2024}"`:            "",
		`password = local.db1.password`:                "",
		`password = random_password.db1.result`:        "",
		`password: "@{local.secret/db1.value}"`:        "",
		`password = "{{ key \"db1\" }}"`:               "",
		`password = file("/run/secrets/db1")`:          "",
		`password_file = "/run/secrets/db1"`:           "",
		`secret: projects/123/secrets/db`:              "",
		`token: vault.kv/web1`:                         "",
		`password = "changeme"`:                        "",
		`password = hunter(2)`:                         "",
		`tokens = "9a8B7c6D5e"`:                        "",
		`secret: "WEB_TLS_KEY_2"`:                      "",
		`secretName: web-tls-2024`:                     "",
		`secret: web-tls-2024`:                         "",
		`the password: it is in Vault 2.0`:             "",
		`password ==  tr0ub4dor3x`:                     "",
		`token_ttl = "768h768h768h"`:                   "",
		`password = $DB_PASSWORD1`:                     "",
		`password = <set by Vault 1>`:                  "",
		`token = sha256:9f86d081884c7d65`:              "",
		strings.Repeat("a", 5000) + "token=9a8B7c6D5e": "",
	} {
		if got := assignment(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	job := "job \"web\" {\n  env {\n    DB_PASSWORD = \"tr0ub4dor3x\"\n  }\n}\n"
	spec, err := json.Marshal(map[string]string{"content": job})
	if err != nil {
		t.Fatal(err)
	}
	found, err := suspectsOf(t.Context(), &schema.Resource{Spec: spec, Files: schema.Tree{{Path: "a.hcl", Data: []byte(job)}}})
	if err != nil || len(found) != 2 || found[0].Line != 3 || found[1].String() != "a.hcl:3: looks like the value of DB_PASSWORD" {
		t.Errorf("%v, %v", found, err)
	}
}

func TestSuspects(t *testing.T) {
	key := secret("AKIA", "IOSFODNN7EXAMPLE")
	r := schema.Resource{
		Spec:   json.RawMessage(`{"env":{"A":"fine","KEY":"` + key + `"},"list":["x","a\nb\n` + key + `"],"n":1,"PASSWORD":"tr0ub4dor3"}`),
		Labels: map[string]string{"k": key},
		Files:  schema.Tree{{Path: "a.conf", Data: []byte("x\ny\nz=" + key + "\n")}, {Path: "b.bin", Data: []byte{0xff, 0, 'A'}}, {Path: "c.pem", Data: []byte("-----BEGIN CERTIFICATE-----\nQ3Zr9sD8fKq2W1xH7bTjP0yNnLwwCgYI\n-----END CERTIFICATE-----\n" + key)}},
	}
	var got []string
	suspects, err := suspectsOf(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range suspects {
		got = append(got, s.String())
		if raw, err := json.Marshal(s); err != nil || strings.Contains(string(raw), key[4:]) {
			t.Errorf("the value is told: %s, %v", raw, err)
		}
	}
	equal(t, got, "spec.PASSWORD: looks like the value of PASSWORD", "spec.env.KEY: looks like an AWS access key", "spec.list[1]: looks like an AWS access key",
		"metadata.labels.k: looks like an AWS access key", "a.conf:3: looks like an AWS access key", "c.pem:4: looks like an AWS access key")
}

// Bytes that are no text hide nothing, in whatever encoding.
func TestSuspectsInBytes(t *testing.T) {
	key := secret("AKIA", "IOSFODNN7EXAMPLE")
	wide := "\xff\xfe" + strings.Join(strings.Split("k="+key+"\n", ""), "\x00") + "\x00"
	r := schema.Resource{Files: schema.Tree{
		{Path: "latin.conf", Data: []byte("caf\xe9\n" + key + "\n")},
		{Path: "nul.conf", Data: []byte("\x00\n" + key + "\n")},
		{Path: "wide.conf", Data: []byte(wide)},
	}}
	got, err := suspectsOf(t.Context(), &r)
	if err != nil || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// What is not looked through is said to be so, once for each text.
func TestSuspectsTooLarge(t *testing.T) {
	large := strings.Repeat("fine\n", mostScanned/5+10)
	spec, err := json.Marshal(map[string]string{"content": large})
	if err != nil {
		t.Fatal(err)
	}
	r := schema.Resource{Spec: spec, Files: schema.Tree{{Path: "a", Data: []byte(large)}, {Path: "b", Data: []byte("fine")}}}
	for range mostTogether / mostScanned {
		r.Files = append(r.Files, schema.File{Path: "c", Data: []byte(large[:mostScanned])})
	}
	found, err := suspectsOf(t.Context(), &r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range found {
		got = append(got, s.String())
	}
	equal(t, got, "spec.content: is too large to be looked through", "a:209716: is too large to be looked through",
		"c:209715: is too large to be looked through", "c:1: is too large to be looked through", "c:1: is too large to be looked through")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := suspectsOf(ctx, &r); err == nil {
		t.Error("it goes on where ctx has ended")
	}
}

// A block that is public hides nothing but what stands in it.
func TestPublicBlocks(t *testing.T) {
	const cert = "-----BEGIN CERTIFICATE-----\nQ3Zr\n-----END CERTIFICATE-----"
	for text, want := range map[string]int{
		"":             0,
		cert:           1,
		cert + cert:    2,
		"-----" + cert: 1,
		"-----BEGIN CERTIFICATE-----\nx\n" + cert:                       1,
		"-----BEGIN CERTIFICATE-----\nx\n-----END PUBLIC KEY-----":      0,
		"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----":       1,
		"-----BEGIN EC PUBLIC KEY-----\nx\n-----END EC PUBLIC KEY-----": 1,
		"-----BEGIN NOTHING-----\nx\n-----END NOTHING-----":             0,
		"-----BEGIN CERTIFICATE":                                        0,
	} {
		if got := publicBlocks(text); len(got) != want {
			t.Errorf("%q: %v, want %d", text, got, want)
		}
	}
}

// evil are texts of a size that make a scan slow that looks at a byte more than
// so often.
func evil(size int) map[string]string {
	all := map[string]string{}
	for name, piece := range map[string]string{
		"beginnings":         "-----BEGIN CERTIFICATE-----\nsha256:a\n",
		"beginnings in line": "-----BEGIN CERTIFICATE-----sha256:a ",
		"ends":               "-----END CERTIFICATE-----\n",
		"labels":             "-----BEGIN ",
		"private":            "-----BEGIN A A A A ",
		"private end":        "A PRIVATE KEY----- ",
		"dashes":             "-",
		"equals":             "=",
		"sums":               "sha256:abcdefghijklmnopqrstuvwxyz ",
		"keys":               "ssh-a ",
		"keys in a row":      "ssh-",
		"runs":               "aB3aB3aB3aB3aB3zzzzzzzzz= ",
		"one run":            "a",
		"tokens":             "-eyJaaaaaaaaaaaa",
		"token parts":        "eyJaaaaaaaaaaaa.eyJaaaaaaaaaaaaaaa ",
		"addresses":          "a://b:",
		"addresses in a row": "a://bbbb:cccc",
		"Vault":              "hvs.-",
		"Slack":              "xoxb-",
		"every sign":         "gh_ github_pat_ glpat- xox k_live_ AIza hv npm_ pypi- SG. AGE-SECRET-KEY- eyJ :// PRIVATE KEY----- A\n",
		"assignments":        "password=\n",
		"near assignments":   strings.Repeat("password=aaaaaaaa ", 200) + "\n",
		"lines":              "A\n",
	} {
		all[name] = strings.Repeat(piece, size/len(piece))
	}
	return all
}

// The time of a scan is in proportion to the text. The limit is what a busy
// machine needs for the slowest many times over, and a fraction of what a scan
// takes that is not: that is minutes.
func TestScanEvil(t *testing.T) {
	const most = 30 * time.Second // in proportion to the text it takes a tenth of it, also under the race detector; else many times as long
	for name, text := range evil(mostScanned / 4) {
		for how, do := range scans(t.Context(), text) {
			start := time.Now()
			do()
			if took := time.Since(start); took > most {
				t.Errorf("%s as %s takes %s", name, how, took)
			}
		}
	}
}

// BenchmarkScanEvil is the same with the largest text that is scanned.
func BenchmarkScanEvil(b *testing.B) {
	for name, text := range evil(mostScanned) {
		for how, do := range scans(b.Context(), text) {
			b.Run(name+" as "+how, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					do()
				}
			})
		}
	}
}

func scans(ctx context.Context, text string) map[string]func() {
	return map[string]func(){
		"a field": func() { scan(text, "password") },
		"a file":  func() { (&scanner{ctx: ctx, left: mostTogether}).file(schema.File{Path: "f", Data: []byte(text)}) },
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{"", "a", "-----BEGIN CERTIFICATE-----\nx", "eyJ.eyJ.", "://a:b@c", strings.Repeat("aB3", 100)} {
		f.Add(s, "password")
	}
	f.Fuzz(func(t *testing.T, text, key string) {
		shape, at := scan(text, key)
		if at < 0 || at > len(text) || shape == "" && at != 0 {
			t.Errorf("%q at %d of %d", shape, at, len(text))
		}
		s := &scanner{ctx: t.Context(), left: mostTogether}
		s.file(schema.File{Path: "f", Data: []byte(text)})
		for _, found := range s.found {
			if found.Line < 1 || found.Line > 1+strings.Count(text, "\n") {
				t.Errorf("line %d", found.Line)
			}
		}
	})
}

// The lines of a declaration find what was added, whatever the keys are.
func TestLinesQuick(t *testing.T) {
	if err := quick.Check(func(key string, line uint8, col uint8) bool {
		l := schema.Lines("").Add(0, 1, 1, "other").Add(0, int(line), int(col), key).Add(1, int(line)+1, 1, "below")
		at := l.At(schema.Pos{File: "f", Line: 10}, schema.Path("").Child(key).Child("below"))
		if strings.ContainsAny(key, "\n\r") || key == "other" {
			return true
		}
		return at == schema.Pos{File: "f", Line: 10 + int(line) + 1, Col: 1}
	}, nil); err != nil {
		t.Error(err)
	}
}
