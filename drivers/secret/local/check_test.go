package local

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestCheck(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	drivertest.Must(t, err)
	armored := func(body string) string {
		return "-----BEGIN AGE ENCRYPTED FILE-----\n" + base64.StdEncoding.EncodeToString([]byte(body)) + "\n-----END AGE ENCRYPTED FILE-----\n"
	}
	sealed := encrypt(t, id.Recipient().String(), "x")
	const plaintext = "hunter2 is no ciphertext"
	for name, c := range map[string]struct {
		spec    map[string]any
		unknown schema.Path
		refused string
	}{
		"generated":          {map[string]any{"length": 16, "rotate": "30d"}, "", ""},
		"length":             {map[string]any{"length": 3}, "", "length 3"},
		"rotate":             {map[string]any{"rotate": "soon"}, "", "rotate: "},
		"length not known":   {map[string]any{"length": "@{local.port/p.port}"}, "/length", ""},
		"age":                {map[string]any{"age": sealed}, "", ""},
		"age not known":      {map[string]any{"age": "@{local.file/f.path}"}, "/age", ""},
		"a plaintext":        {map[string]any{"age": plaintext}, "", "no armored age ciphertext"},
		"half of it":         {map[string]any{"age": sealed[:len(sealed)/2]}, "", "no armored age ciphertext"},
		"another's envelope": {map[string]any{"age": armored(plaintext)}, "", "not encrypted with age"},
		"too long":           {map[string]any{"age": strings.Repeat("x", 2*MaxSecret+1)}, "", "at most"},
	} {
		raw, err := json.Marshal(c.spec)
		drivertest.Must(t, err)
		want := drivers.Desired{Spec: raw}
		if c.unknown != "" {
			want.Unknown = map[schema.Path]string{c.unknown: "@{}"}
		}
		err = newDriver(t).Check(Kind, "s", want)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v; want %q", name, err, c.refused)
		}
		if err != nil && strings.Contains(err.Error()+drivers.HintOf(err), "hunter2") {
			t.Errorf("%s: what may be a plaintext is repeated: %v", name, err)
		}
	}
	if newDriver(t).Check("local.none", "s", drivers.Desired{}) == nil {
		t.Error("another kind was taken")
	}
}
