//go:build e2e

package vault

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// full are objects that together set every field that is known of the typed
// places but those of unset.
func full(public, own, ca, issuer string) map[string][]fields {
	return map[string][]fields{
		"jwt role": {
			{
				"bound_audiences": []string{"b", "a"}, "bound_claims": fields{"a": []string{"y", "x"}, "b": "z"}, "bound_claims_type": "glob", "bound_subject": "s",
				"claim_mappings": fields{"a": "b"}, "clock_skew_leeway": "1m", "expiration_leeway": "2m", "groups_claim": "groups", "not_before_leeway": 90, "role_type": "jwt",
				"token_bound_cidrs": []string{"10.0.0.0/8", "10.0.0.1"}, "token_explicit_max_ttl": "4h", "token_max_ttl": "3h", "token_no_default_policy": true, "token_num_uses": 3,
				"token_period": "30m", "token_policies": []string{"B", "a"}, "token_ttl": "1h", "token_type": "service", "user_claim": "/sub", "user_claim_json_pointer": true,
			},
			{"role_type": "oidc", "user_claim": "sub", "allowed_redirect_uris": []string{"http://b", "http://a"}, "oidc_scopes": []string{"b", "a"}, "max_age": "1h", "verbose_oidc_logging": true},
			{"role_type": "jwt", "user_claim": "sub", "bound_subject": "s", "bound_cidrs": []string{"10.0.0.0/8"}, "max_ttl": "3h", "num_uses": 3, "period": "30m", "policies": []string{"a"}, "ttl": "1h"},
		},
		"approle role": {
			{
				"bind_secret_id": true, "role_id": "its-own", "local_secret_ids": true, "secret_id_bound_cidrs": []string{"10.0.0.1/32", "10.0.0.0/8"}, "secret_id_num_uses": 4, "secret_id_ttl": "10m",
				"token_bound_cidrs": []string{"10.0.0.0/8"}, "token_explicit_max_ttl": "4h", "token_max_ttl": "3h", "token_no_default_policy": true, "token_num_uses": 3,
				"token_period": "30m", "token_policies": []string{"B", "a"}, "token_ttl": "1h", "token_type": "service",
			},
			{"period": "30m", "policies": []string{"a"}, "bound_cidr_list": []string{"10.0.0.0/8"}},
		},
		"database roles": {{
			"creation_statements": []string{"b", "a"}, "credential_config": fields{"password_policy": "letters"}, "credential_type": "password", "db_name": "shop", "default_ttl": "1h", "max_ttl": "2h",
			"renew_statements": []string{"a"}, "revocation_statements": []string{"a"}, "rollback_statements": []string{"a"},
		}},
		"pki roles": {
			{
				"allow_any_name": true, "allow_bare_domains": true, "allow_glob_domains": true, "allow_ip_sans": false, "allow_localhost": false, "allow_subdomains": true,
				"allow_wildcard_certificates": false, "allowed_domains": []string{"b.example", "a.example"}, "allowed_domains_template": true, "allowed_other_sans": []string{"1.2.3.4;UTF-8:x"},
				"allowed_serial_numbers": []string{"1"}, "allowed_uri_sans": []string{"http://x"}, "allowed_uri_sans_template": true, "allowed_user_ids": []string{"u"},
				"basic_constraints_valid_for_non_ca": true, "client_flag": false, "cn_validations": []string{"hostname"}, "code_signing_flag": true, "country": []string{"DE"},
				"email_protection_flag": true, "enforce_hostnames": false, "ext_key_usage": []string{"ServerAuth"}, "ext_key_usage_oids": []string{"1.3.6.1.5.5.7.3.1"}, "generate_lease": true,
				"issuer_ref": "default", "key_bits": 3072, "key_type": "rsa", "key_usage": []string{"KeyAgreement", "DigitalSignature"}, "locality": []string{"Berlin"}, "max_ttl": "72h",
				"not_before_duration": "45s", "organization": []string{"Shop"}, "ou": []string{"b", "a"}, "policy_identifiers": []string{"1.3.6.1.4.1.1.1"}, "postal_code": []string{"10115"},
				"province": []string{"BE"}, "require_cn": false, "serial_number_source": "json", "server_flag": false, "signature_bits": 384, "street_address": []string{"x 1"}, "ttl": "1d",
				"use_csr_common_name": false, "use_csr_sans": false, "use_pss": true,
			},
			{"no_store": true, "not_after": "9999-12-31T23:59:59Z"},
		},
		"pki config/urls": {{"crl_distribution_points": []string{"http://b", "http://a"}, "enable_templating": true, "issuing_certificates": []string{"http://a"}, "ocsp_servers": []string{"http://a"}}},
		"pki config/crl": {{
			"auto_rebuild": true, "auto_rebuild_grace_period": "8h", "delta_rebuild_interval": "10m", "disable": false, "enable_delta": true, "expiry": "60h",
			"max_crl_entries": 50000, "ocsp_disable": true, "ocsp_expiry": "11h",
		}},
		"pki config/cluster": {{"aia_path": "http://a.example", "path": "https://a.example/v1/pki"}},
		"pki config/acme": {{
			"allow_role_ext_key_usage": true, "allowed_issuers": []string{"default"}, "allowed_roles": []string{"one"}, "default_directory_policy": "role:one", "dns_resolver": "127.0.0.1:53",
			"eab_policy": "always-required", "enabled": true, "max_ttl": "24h",
		}},
		"transit keys": {
			{
				"allow_plaintext_backup": true, "auto_rotate_period": "30d", "convergent_encryption": true, "deletion_allowed": true, "derived": true, "exportable": true,
				"min_decryption_version": 1, "min_encryption_version": 1, "type": "aes256-gcm96",
			},
			{"type": "hmac", "key_size": 64},
		},
		"pki config/issuers":  {{"default": issuer, "default_follows_latest_issuer": true}},
		"transit config/keys": {{"disable_upsert": true}},
		"jwt config": {
			{"bound_issuer": "me", "default_role": "one", "jwt_supported_algs": []string{"RS256", "ES256"}, "jwt_validation_pubkeys": []string{public}, "unsupported_critical_cert_extensions": []string{"b", "a"}},
			{"jwks_url": own + "/.well-known/keys", "jwks_ca_pem": ca},
			{"jwks_pairs": []any{fields{"jwks_url": own + "/.well-known/keys", "jwks_ca_pem": ca}}},
			{
				"oidc_discovery_url": own, "oidc_discovery_ca_pem": ca, "oidc_client_id": "me", "oidc_client_secret": "its-secret", "oidc_response_mode": "form_post",
				"oidc_response_types": []string{"id_token"}, "namespace_in_state": true, "provider_config": fields{"provider": "secureauth"},
			},
		},
	}
}

// unset are the fields that no object of full sets, each with the reason.
var unset = func() map[string]string {
	all := map[string]string{}
	for reason, names := range map[string]string{
		"Enterprise": `pki config/crl cross_cluster_revocation, pki config/crl unified_crl, pki config/crl unified_crl_on_existing_paths,
			transit keys hybrid_key_type_ec, transit keys hybrid_key_type_pqc, transit keys managed_key_id, transit keys managed_key_name, transit keys parameter_set`,
		"a parameter of reading": "pki roles backend, transit keys context",
	} {
		for _, name := range strings.Split(names, ",") {
			all[strings.TrimSpace(name)] = reason
		}
	}
	for _, w := range strings.Fields(typed["pki root/generate"]) {
		name, _, _ := strings.Cut(w, ":")
		all["pki root/generate "+name] = "it is made once and never read: TestPKI"
	}
	return all
}()

// TestEveryFieldSettles: an object that says all that can be said of its place
// is written, and then planning gives nothing, whatever Vault made of it; also
// for a driver made anew.
func TestEveryFieldSettles(t *testing.T) {
	s := newServer(t)
	for _, m := range []string{"mounts/pki", "mounts/transit", "mounts/database", "auth/approle", "auth/jwt"} {
		s.put("sys/"+m, map[string]any{"type": m[strings.Index(m, "/")+1:]})
	}
	root := s.do(http.MethodPost, "pki/root/generate/internal", fields{"common_name": "root"})
	s.put("pki/roles/one", fields{})
	s.put("pki/config/cluster", fields{"path": "https://b.example/v1/pki"})
	_, public := signingKey(t)
	objects := full(public, s.root.URL+"/v1/identity/oidc", text(root["certificate"]), text(root["issuer_id"]))
	for _, place := range slices.Sorted(maps.Keys(typed)) {
		for _, w := range strings.Fields(typed[place]) {
			name, _, _ := strings.Cut(w, ":")
			set := slices.ContainsFunc(objects[place], func(f fields) bool { return f[name] != nil })
			if why := unset[place+" "+name]; set == (why != "") {
				t.Errorf("%s %s: set is %t, and unset for the reason %q", place, name, set, why)
			}
		}
		for i, f := range objects[place] {
			t.Run(fmt.Sprintf("%s/%d", place, i), func(t *testing.T) {
				kind, spec := Config, fields{"fields": f, "secrets": fields{}}
				mount, rest, _ := strings.Cut(place, " ")
				if mount == "jwt" || mount == "approle" {
					mount = "auth/" + mount
				}
				switch rest {
				case "role", "roles", "keys":
					kind, spec["mount"] = Role, mount
				default:
					spec["path"] = mount + "/" + rest
				}
				s.settles(t, kind, fmt.Sprint("every-", i), spec, f)
			})
		}
	}
}

// settles writes an object and finds nothing left to plan; of each of its fields
// a change is seen.
func (s *server) settles(t *testing.T, kind, name string, spec, said fields) {
	t.Helper()
	r := drivertest.NewResource(t, s.driver(), kind, name, drivers.Desired{Spec: drivertest.JSON(t, spec)})
	drivertest.Must(t, s.driver().Check(kind, name, *r.Item.Want))
	live, err := r.Apply(r.Plan())
	drivertest.Must(t, err)
	r.Item.Handle, r.Driver = live.Handle, s.driver()
	seen := r.Observe()
	if c, err := r.Driver.Plan(t.Context(), r.Item, seen); err != nil || c.Action != schema.None {
		t.Errorf("a driver made anew plans %s with %+v, %v", c.Action, c.Diff, err)
	}
	for field, v := range said {
		said[field] = other(v)
		r.Item.Want.Spec = drivertest.JSON(t, spec)
		if c, err := r.Driver.Plan(t.Context(), r.Item, seen); err != nil || c.Action == schema.None {
			t.Errorf("%s: a change is not seen: %s, %v", field, c.Action, err)
		}
		said[field] = v
	}
}

// untuned are what a mount can be tuned with and no test sets, each with the
// reason.
var untuned = map[string]string{
	"description": "a field of its own", "options": "a field of its own", "plugin_version": "of plugins that are registered",
	"allowed_managed_keys": "Enterprise", "identity_token_key": "of plugins of Vault Enterprise", "token_type": "of auth methods", "user_lockout_config": "of auth methods",
}

// TestEveryTuneSettles: a mount that is tuned with all that Vault's description
// of its API has is left with nothing to plan.
func TestEveryTuneSettles(t *testing.T) {
	s := newServer(t)
	config := fields{
		"default_lease_ttl": "1h", "max_lease_ttl": "3d", "listing_visibility": "unauth", "audit_non_hmac_request_keys": []string{"b", "a"}, "audit_non_hmac_response_keys": []string{"a"},
		"passthrough_request_headers": []string{"X-B", "X-A"}, "allowed_response_headers": []string{"X-A"}, "delegated_auth_accessors": []string{"a"}, "trim_request_trailing_slashes": true,
	}
	known := s.described(t).fields("/sys/mounts/{path}/tune")
	if len(known) < 10 {
		t.Errorf("Vault describes %d fields only", len(known))
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if set := config[name] != nil; set == (untuned[name] != "") {
			t.Errorf("%s: set is %t, and unset for the reason %q", name, set, untuned[name])
		}
	}
	s.settles(t, Mount, "every", fields{"type": "transit", "description": "all of it", "options": fields{}, "config": config}, config)
	config["token_type"] = "default-service"
	config["user_lockout_config"] = fields{"lockout_threshold": "7", "lockout_duration": "10m", "lockout_counter_reset_duration": "20m", "lockout_disable": true}
	s.settles(t, Auth, "every", fields{"type": "approle", "description": "all of it", "options": fields{}, "config": config}, config)
	lockout, _ := s.do(http.MethodGet, "sys/auth/every/tune", nil)["user_lockout_threshold"].(json.Number)
	if lockout != "7" {
		t.Errorf("users are locked out after %s failures", lockout)
	}
	some := fields{"user_lockout_config": fields{"lockout_threshold": "5"}}
	s.settles(t, Auth, "some", fields{"type": "userpass", "options": fields{}, "config": some}, some)
}

// other is another value of the same kind.
func other(v any) any {
	switch v := v.(type) {
	case bool:
		return !v
	case int:
		return v + 1
	case []string:
		return append([]string{"other"}, v...)
	case fields:
		return fields{"other": "x"}
	}
	text := fmt.Sprint(v)
	if unit := text[len(text)-1:]; strings.Contains("smhd", unit) && text[0] >= '1' && text[0] <= '9' {
		return "77" + unit
	}
	return text + "x"
}
