//go:build e2e

package vault

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func conform(t *testing.T, open func(*testing.T) *drivertest.Engine, skip map[string]string, samples ...drivertest.Sample) {
	drivertest.Run(t, drivertest.Harness{
		Driver: "secret/vault", Env: env, Fingerprint: drivertest.Fingerprint, Open: open, Samples: samples, Skip: skip,
	})
}

func fieldsOf(t *testing.T, spec string) map[string]any {
	var m map[string]any
	drivertest.Must(t, json.Unmarshal([]byte(spec), &m))
	return m
}

func TestMounts(t *testing.T) {
	sys := func(handle string) string { return "sys/" + strings.Replace(handle, "mount/", "mounts/", 1) }
	conform(t, func(t *testing.T) *drivertest.Engine {
		s := newServer(t)
		e := s.engine()
		marked := func(spec map[string]any, owner string) string {
			description, _ := spec["description"].(string)
			if owner == "" {
				return description
			}
			return mark(description, owner)
		}
		e.Create = func(t *testing.T, sample drivertest.Sample, handle, spec, owner string) string {
			f := fieldsOf(t, spec)
			s.put(sys(handle), map[string]any{"type": f["type"], "config": f["config"], "description": marked(f, owner)})
			return handle
		}
		e.Edit = func(t *testing.T, handle, spec string) {
			f := fieldsOf(t, spec)
			body, _ := f["config"].(map[string]any)
			body["description"] = marked(f, env)
			s.put(sys(handle)+"/tune", body)
		}
		e.Delete = func(t *testing.T, handle string) { s.do(http.MethodDelete, sys(handle), nil) }
		e.Mark = func(t *testing.T, handle, owner string) {
			table := s.do(http.MethodGet, "sys/"+strings.TrimSuffix(strings.Replace(handle[:strings.Index(handle, "/")+1], "mount/", "mounts/", 1), "/"), nil)
			_, path, _ := strings.Cut(handle, "/")
			entry, _ := table[path+"/"].(map[string]any)
			own, _ := unmark(text(entry["description"]))
			s.put(sys(handle)+"/tune", map[string]any{"description": marked(map[string]any{"description": own}, owner)})
		}
		return e
	}, nil,
		drivertest.Sample{
			Kind: Mount, Marks: true, Outputs: []string{"path", "accessor"}, Unknown: "/description",
			A: `{"config":{"default_lease_ttl":"1h"},"description":"of $NAME","options":{"version":"2"},"type":"kv"}`,
			B: `{"config":{"default_lease_ttl":"90m","max_lease_ttl":86400},"description":"another","options":{"version":"2"},"type":"kv"}`,
			C: `{"config":{"default_lease_ttl":"1h"},"description":"of $NAME","options":{},"type":"transit"}`,
			P: `{"config":{},"options":{},"path":"deep/down","type":"transit"}`,
			X: `{"config":{},"options":{},"type":"no-such-engine"}`,
		},
		drivertest.Sample{
			Kind: Auth, Marks: true, Outputs: []string{"path", "accessor"}, Unknown: "/config/default_lease_ttl",
			A: `{"config":{"default_lease_ttl":"1h"},"description":"of $NAME","options":{},"type":"approle"}`,
			B: `{"config":{"default_lease_ttl":"2h","listing_visibility":"unauth"},"options":{},"type":"approle"}`,
			D: `{"config":{"default_lease_ttl":"3h"},"description":"theirs","options":{},"type":"approle"}`,
			C: `{"config":{"default_lease_ttl":"1h"},"description":"of $NAME","options":{},"type":"userpass"}`,
			P: `{"config":{},"options":{},"path":"deep/down","type":"approle"}`,
			X: `{"config":{},"options":{},"type":"no-such-method"}`,
		})
}

func TestPolicies(t *testing.T) {
	path := func(handle string) string {
		return strings.NewReplacer("password-policy/", "sys/policies/password/", "policy/", "sys/policies/acl/").Replace(handle)
	}
	open := func(t *testing.T) *drivertest.Engine {
		s := newServer(t)
		e := s.engine()
		put := func(handle, policy, owner string) {
			if owner != "" && strings.HasPrefix(handle, "policy/") {
				policy = policyMark + " " + owner + "\n" + policy
			}
			s.put(path(handle), map[string]any{"policy": policy})
		}
		e.Create = func(t *testing.T, _ drivertest.Sample, handle, spec, owner string) string {
			put(handle, text(fieldsOf(t, spec)["policy"]), owner)
			return handle
		}
		e.Edit = func(t *testing.T, handle, spec string) { put(handle, text(fieldsOf(t, spec)["policy"]), env) }
		e.Delete = func(t *testing.T, handle string) { s.do(http.MethodDelete, path(handle), nil) }
		e.Mark = func(t *testing.T, handle, owner string) {
			policy, _ := splitMark(text(s.do(http.MethodGet, path(handle), nil)["policy"]))
			put(handle, policy, owner)
		}
		return e
	}
	conform(t, open, nil,
		drivertest.Sample{
			Kind: Policy, Marks: true, Outputs: []string{"name"}, Unknown: "/policy",
			A: `{"policy":"path \"secret/data/$NAME\" {\n  capabilities = [\"read\"]\n}\n"}`,
			B: `{"policy":"path \"secret/data/$NAME\" {\n  capabilities = [\"read\", \"list\"]\n}"}`,
			P: `{"name":"its-own","policy":"path \"x\" { capabilities = [\"read\"] }"}`,
			X: `{"policy":"path \"x\" { capabilities = [\"fly\"] }"}`,
		},
		drivertest.Sample{
			Kind: PasswordPolicy, Outputs: []string{"name"}, Unknown: "/policy",
			A: `{"policy":"length = 20\nrule \"charset\" {\n  charset = \"abcdef\"\n}\n"}`,
			B: `{"policy":"length = 30\nrule \"charset\" {\n  charset = \"abcdef\"\n}\n"}`,
			P: `{"name":"its-own","policy":"length = 20\nrule \"charset\" {\n  charset = \"abcdef\"\n}\n"}`,
			X: `{"policy":"length = 2"}`,
		})
}

func TestKV(t *testing.T) {
	at := func(what, handle string) string {
		return strings.Replace(strings.TrimPrefix(handle, "kv/"), "/data/", "/"+what+"/", 1)
	}
	conform(t, func(t *testing.T) *drivertest.Engine {
		s := newServer(t)
		s.put("sys/policies/password/letters", map[string]any{"policy": "length = 24\nrule \"charset\" { charset = \"abcdefghijklmnopqrstuvwxyz\" }"})
		e := s.engine()
		e.Create = func(t *testing.T, sample drivertest.Sample, handle, spec, owner string) string {
			if owner == env {
				r := drivertest.NewResource(t, s.driver(), KV, sample.Name+"sample", wanted(spec))
				_, err := r.Apply(r.Plan())
				drivertest.Must(t, err)
				return handle
			}
			s.put(at("data", handle), map[string]any{"data": map[string]any{"password": "theirs", "other": "x"}})
			return handle
		}
		e.Edit = func(t *testing.T, handle, spec string) {
			s.put(at("data", handle), map[string]any{"data": map[string]any{"password": "edited"}})
		}
		e.Delete = func(t *testing.T, handle string) { s.do(http.MethodDelete, at("metadata", handle), nil) }
		e.Mark = func(t *testing.T, handle, owner string) {
			custom, _ := s.do(http.MethodGet, at("metadata", handle), nil)["custom_metadata"].(map[string]any)
			if owner == "" {
				custom = map[string]any{}
			} else {
				custom["aplomb"] = owner
			}
			s.put(at("metadata", handle), map[string]any{"custom_metadata": custom})
		}
		return e
	}, nil,
		drivertest.Sample{
			Kind: KV, Marks: true, Outputs: []string{"path", "version", "password"}, Secrets: []string{"password"},
			Unknown: "/values/user/value", Secret: "/values/user/value", WriteOnly: true,
			A: `{"generation":1,"mount":"secret","values":{"password":{"generate":"letters"}}}`,
			B: `{"generation":2,"mount":"secret","values":{"password":{"generate":"letters"}}}`,
			P: `{"generation":1,"mount":"secret","path":"deep/down","values":{"password":{"generate":"letters"}}}`,
			X: `{"generation":1,"mount":"secret","values":{"password":{"age":"no ciphertext"}}}`,
		})
}

const noList = "roles and other paths bear no mark, and Vault has no one way to list them"

func TestRoles(t *testing.T) {
	open := func(t *testing.T) *drivertest.Engine {
		s := newServer(t)
		for _, m := range []string{"mounts/pki", "mounts/transit", "auth/approle", "auth/userpass", "auth/jwt"} {
			s.put("sys/"+m, map[string]any{"type": m[strings.Index(m, "/")+1:]})
		}
		e := s.engine()
		path := func(handle string) string { return strings.TrimPrefix(handle, pathPrefix) }
		edit := func(t *testing.T, handle, spec string) {
			body, _ := fieldsOf(t, spec)["fields"].(map[string]any)
			if more, ok := fieldsOf(t, spec)["secrets"].(map[string]any); ok && s.do(http.MethodGet, path(handle), nil) == nil {
				for k, v := range more {
					body[k] = v
				}
			}
			if strings.HasPrefix(handle, "path/transit/keys/") && s.do(http.MethodGet, path(handle), nil) != nil {
				s.put(path(handle)+"/config", body)
				return
			}
			s.put(path(handle), body)
		}
		e.Create = func(t *testing.T, _ drivertest.Sample, handle, spec, _ string) string {
			edit(t, handle, spec)
			return handle
		}
		e.Edit = edit
		e.Delete = func(t *testing.T, handle string) { s.do(http.MethodDelete, path(handle), nil) }
		return e
	}
	outputs := []string{"path", "name"}
	conform(t, open, map[string]string{"list": noList},
		drivertest.Sample{
			Kind: Role, Outputs: outputs, Unknown: "/fields/token_ttl",
			A: `{"fields":{"secret_id_bound_cidrs":["10.0.0.1/32"],"token_bound_cidrs":["10.0.0.1/32"],"token_policies":["B","a"],"token_ttl":"1h"},"mount":"auth/approle","secrets":{}}`,
			B: `{"fields":{"secret_id_bound_cidrs":["10.0.0.2/32"],"token_bound_cidrs":"10.0.0.1/32,10.0.0.2/32","token_policies":"c,a","token_ttl":7200},"mount":"auth/approle","secrets":{}}`,
			D: `{"fields":{"token_policies":["theirs"],"token_ttl":60},"mount":"auth/approle","secrets":{}}`,
			P: `{"fields":{},"mount":"auth/approle","name":"its-own","secrets":{}}`,
			X: `{"fields":{"token_ttl":"an age"},"mount":"auth/approle","secrets":{}}`,
		},
		drivertest.Sample{
			Kind: Role, Outputs: outputs, Unknown: "/fields/allowed_domains/0",
			A: `{"fields":{"allow_subdomains":true,"allowed_domains":["a.example"],"max_ttl":"72h"},"mount":"pki","secrets":{}}`,
			B: `{"fields":{"allow_subdomains":"false","allowed_domains":"a.example,b.example","key_usage":["DigitalSignature"],"max_ttl":"3d"},"mount":"pki","secrets":{}}`,
			D: `{"fields":{"allow_subdomains":false,"allowed_domains":["theirs.example"],"max_ttl":"1h"},"mount":"pki","secrets":{}}`,
			X: `{"fields":{"key_type":"no-such-type"},"mount":"pki","secrets":{}}`,
		},
		drivertest.Sample{
			Kind: Role, Outputs: outputs, Unknown: "/fields/auto_rotate_period",
			A: `{"fields":{"auto_rotate_period":"720h","deletion_allowed":true,"type":"aes256-gcm96"},"mount":"transit","secrets":{}}`,
			B: `{"fields":{"auto_rotate_period":"30d","deletion_allowed":true,"exportable":true,"type":"aes256-gcm96"},"mount":"transit","secrets":{}}`,
			D: `{"fields":{"auto_rotate_period":"24h","deletion_allowed":true},"mount":"transit","secrets":{}}`,
			C: `{"fields":{"auto_rotate_period":"720h","deletion_allowed":true,"type":"chacha20-poly1305"},"mount":"transit","secrets":{}}`,
			X: `{"fields":{"type":"no-such-type"},"mount":"transit","secrets":{}}`,
		},
		drivertest.Sample{
			Kind: Role, Outputs: outputs, Unknown: "/fields/bound_audiences",
			A: `{"fields":{"bound_audiences":["vault.io"],"claim_mappings":{"nomad_job_id":"nomad_job_id"},"role_type":"jwt","token_period":"30m","token_policies":["x"],"token_type":"service","user_claim":"/nomad_job_id","user_claim_json_pointer":true},"mount":"auth/jwt","secrets":{}}`,
			B: `{"fields":{"bound_audiences":"vault.io,other","claim_mappings":{"nomad_job_id":"job"},"role_type":"jwt","token_period":1800,"token_policies":["x"],"token_type":"service","user_claim":"/nomad_job_id","user_claim_json_pointer":true},"mount":"auth/jwt","secrets":{}}`,
			X: `{"fields":{"role_type":"jwt"},"mount":"auth/jwt","secrets":{}}`,
		})
	conform(t, open, map[string]string{"list": noList},
		drivertest.Sample{
			Kind: Config, Outputs: []string{"path"}, Unknown: "/fields/token_ttl", Secret: "/secrets/password", WriteOnly: true, Alone: true,
			A: `{"fields":{"token_ttl":"1h"},"path":"auth/userpass/users/one","secrets":{"password":"first-secret"}}`,
			B: `{"fields":{"token_policies":["a"],"token_ttl":"2h"},"path":"auth/userpass/users/one","secrets":{"password":"first-secret"}}`,
			D: `{"fields":{"token_ttl":"3h"},"path":"auth/userpass/users/one","secrets":{"password":"first-secret"}}`,
			X: `{"fields":{"token_ttl":"an age"},"path":"auth/userpass/users/one","secrets":{"password":"p"}}`,
		})
}
