package vault

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestFieldsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		kind, spec, want string
		unknown          map[schema.Path]string
	}{
		"good":               {kind: Role, spec: `{"mount":"auth/jwt","fields":{"bound_audiences":["a"],"user_claim":"sub","token_period":"30m","user_claim_json_pointer":true}}`},
		"misspelt":           {kind: Role, spec: `{"mount":"auth/jwt","fields":{"bound_audience":["a"]}}`, want: "did you mean bound_audiences?"},
		"named otherwise":    {kind: Role, spec: `{"mount":"auth/jwt-nomad","type":"jwt","fields":{"user_clam":"sub"}}`, want: "did you mean user_claim?"},
		"of a newer Vault":   {kind: Role, spec: `{"mount":"auth/jwt","fields":{"wholly_new_thing":"x"}}`},
		"no bool":            {kind: Role, spec: `{"mount":"auth/approle","fields":{"bind_secret_id":"perhaps"}}`, want: "bind_secret_id holds a bool"},
		"a bool as text":     {kind: Role, spec: `{"mount":"auth/approle","fields":{"bind_secret_id":"true"}}`},
		"no number":          {kind: Role, spec: `{"mount":"pki","fields":{"key_bits":"many"}}`, want: "key_bits holds a int"},
		"a number":           {kind: Role, spec: `{"mount":"pki","fields":{"key_bits":2048}}`},
		"no map":             {kind: Role, spec: `{"mount":"auth/jwt","fields":{"claim_mappings":["a"]}}`, want: "claim_mappings holds a map"},
		"no text":            {kind: Role, spec: `{"mount":"database","fields":{"db_name":["a"]}}`, want: "db_name holds a text"},
		"not known yet":      {kind: Role, spec: `{"mount":"auth/approle","fields":{"bind_secret_id":"@{x}"}}`, unknown: map[schema.Path]string{"/fields/bind_secret_id": "@{x}"}},
		"a list as text":     {kind: Role, spec: `{"mount":"auth/jwt","fields":{"bound_audiences":"a,b"}}`},
		"a config":           {kind: Config, spec: `{"path":"auth/jwt/config","fields":{"jwks_ulr":"http://x"}}`, want: "did you mean jwks_url?"},
		"pki urls":           {kind: Config, spec: `{"path":"pki/config/urls","fields":{"issuing_certificate":["http://x"]}}`, want: "did you mean issuing_certificates?"},
		"a key of transit":   {kind: Role, spec: `{"mount":"transit","fields":{"type":"aes256-gcm96","deletion_allowed":true}}`},
		"a plugin's own":     {kind: Config, spec: `{"path":"database/config/shop","fields":{"connection_ulr":"x"}}`},
		"nobody knows":       {kind: Config, spec: `{"path":"some/config","fields":{"a":1}}`},
		"a secret, misspelt": {kind: Config, spec: `{"path":"auth/jwt/config","fields":{},"secrets":{"oidc_client_secrt":"x"}}`, want: "did you mean oidc_client_secret?"},
	} {
		err := (&Driver{}).Check(c.kind, "x", drivers.Desired{Spec: json.RawMessage(c.spec), Unknown: c.unknown})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}
