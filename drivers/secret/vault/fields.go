package vault

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// typed are the fields of the objects that are known, by the type of the mount
// and the place below it, each with what it holds: text, which also stands for
// durations, int, bool, list or map. They are those of Vault 1.19, as its own
// description of its API has them; a test compares the two.
var typed = map[string]string{
	"jwt config": `
		bound_issuer:text default_role:text jwks_ca_pem:text jwks_pairs:list jwks_url:text jwt_supported_algs:list
		jwt_validation_pubkeys:list namespace_in_state:bool oidc_client_id:text oidc_client_secret:text
		oidc_discovery_ca_pem:text oidc_discovery_url:text oidc_response_mode:text oidc_response_types:list
		provider_config:map unsupported_critical_cert_extensions:list
	`,
	"jwt role": `
		allowed_redirect_uris:list bound_audiences:list bound_cidrs:list bound_claims:map bound_claims_type:text
		bound_subject:text claim_mappings:map clock_skew_leeway:text expiration_leeway:text groups_claim:text max_age:text
		max_ttl:text not_before_leeway:text num_uses:int oidc_scopes:list period:text policies:list role_type:text
		token_bound_cidrs:list token_explicit_max_ttl:text token_max_ttl:text token_no_default_policy:bool token_num_uses:int
		token_period:text token_policies:list token_ttl:text token_type:text ttl:text user_claim:text
		user_claim_json_pointer:bool verbose_oidc_logging:bool
	`,
	"approle role": `
		bind_secret_id:bool bound_cidr_list:list local_secret_ids:bool period:text policies:list role_id:text
		secret_id_bound_cidrs:list secret_id_num_uses:int secret_id_ttl:text token_bound_cidrs:list
		token_explicit_max_ttl:text token_max_ttl:text token_no_default_policy:bool token_num_uses:int token_period:text
		token_policies:list token_ttl:text token_type:text
	`,
	"database roles": `
		creation_statements:list credential_config:map credential_type:text db_name:text default_ttl:text max_ttl:text
		renew_statements:list revocation_statements:list rollback_statements:list
	`,
	"pki roles": `
		allow_any_name:bool allow_bare_domains:bool allow_glob_domains:bool allow_ip_sans:bool allow_localhost:bool
		allow_subdomains:bool allow_wildcard_certificates:bool allowed_domains:list allowed_domains_template:bool
		allowed_other_sans:list allowed_serial_numbers:list allowed_uri_sans:list allowed_uri_sans_template:bool
		allowed_user_ids:list backend:text basic_constraints_valid_for_non_ca:bool client_flag:bool cn_validations:list
		code_signing_flag:bool country:list email_protection_flag:bool enforce_hostnames:bool ext_key_usage:list
		ext_key_usage_oids:list generate_lease:bool issuer_ref:text key_bits:int key_type:text key_usage:list locality:list
		max_ttl:text no_store:bool not_after:text not_before_duration:text organization:list ou:list policy_identifiers:list
		postal_code:list province:list require_cn:bool serial_number_source:text server_flag:bool signature_bits:int
		street_address:list ttl:text use_csr_common_name:bool use_csr_sans:bool use_pss:bool
	`,
	"pki config/urls": `
		crl_distribution_points:list enable_templating:bool issuing_certificates:list ocsp_servers:list
	`,
	"pki config/crl": `
		auto_rebuild:bool auto_rebuild_grace_period:text cross_cluster_revocation:bool delta_rebuild_interval:text
		disable:bool enable_delta:bool expiry:text max_crl_entries:int ocsp_disable:bool ocsp_expiry:text unified_crl:bool
		unified_crl_on_existing_paths:bool
	`,
	"pki config/issuers": `
		default:text default_follows_latest_issuer:bool
	`,
	"pki config/cluster": `
		aia_path:text path:text
	`,
	"pki config/acme": `
		allow_role_ext_key_usage:bool allowed_issuers:list allowed_roles:list default_directory_policy:text dns_resolver:text
		eab_policy:text enabled:bool max_ttl:text
	`,
	"pki root/generate": `
		alt_names:text common_name:text country:list exclude_cn_from_sans:bool excluded_dns_domains:list
		excluded_email_addresses:list excluded_ip_ranges:list excluded_uri_domains:list format:text ip_sans:list
		issuer_name:text key_bits:int key_name:text key_ref:text key_type:text key_usage:list locality:list
		managed_key_id:text managed_key_name:text max_path_length:int not_after:text not_before_duration:text
		organization:list other_sans:list ou:list permitted_dns_domains:list permitted_email_addresses:list
		permitted_ip_ranges:list permitted_uri_domains:list postal_code:list private_key_format:text province:list
		serial_number:text signature_bits:int street_address:list ttl:text uri_sans:list use_pss:bool
	`,
	"transit keys": `
		allow_plaintext_backup:bool auto_rotate_period:text context:text convergent_encryption:bool deletion_allowed:bool
		derived:bool exportable:bool hybrid_key_type_ec:text hybrid_key_type_pqc:text key_size:int managed_key_id:text
		managed_key_name:text min_decryption_version:int min_encryption_version:int parameter_set:text type:text
	`,
	"transit config/keys": `
		disable_upsert:bool
	`,
}

// knownFields are the fields of the object at a path; nil where they are not
// known, such as those of a database's connection, which are its plugin's.
func knownFields(path, typ string) map[string]string {
	mount, rest := mountOf(path)
	kind := typeOf(typ, mount)
	if kind == "oidc" {
		kind = "jwt"
	}
	words, known := typed[kind+" "+rest]
	for place := rest; !known && strings.Contains(place, "/"); {
		place = place[:strings.LastIndexByte(place, '/')]
		words, known = typed[kind+" "+place]
	}
	if !known {
		return nil
	}
	fields := map[string]string{}
	for _, w := range strings.Fields(words) {
		name, holds, _ := strings.Cut(w, ":")
		fields[name] = holds
	}
	return fields
}

// checkFields finds what is surely wrong with fields: a name that is nearly one
// of the known ones, and a value that the field cannot hold. A name that is like
// none of them may be of a newer Vault, which answers if it is not.
func checkFields(path string, s pathSpec, unknown map[schema.Path]string) error {
	fields := knownFields(path, s.Type)
	if fields == nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(fields))
	given := slices.Sorted(maps.Keys(s.Fields))
	for name := range s.Secrets {
		given = append(given, name)
	}
	for _, name := range given {
		holds, known := fields[name]
		if near := schema.Closest(name, names); !known && near != "" {
			return fmt.Errorf("no field %s is known there; did you mean %s?", clip(name), near)
		}
		v, plain := s.Fields[name]
		at := schema.Path("/fields").Child(name)
		later := slices.ContainsFunc(slices.Collect(maps.Keys(unknown)), func(u schema.Path) bool { return u.Within(at) })
		if known && plain && !later && !fits(holds, v) {
			return fmt.Errorf("the field %s holds a %s", name, holds)
		}
	}
	return nil
}

// took fails where Vault took no notice of a field: it answers writes all the
// same, and a role without the bound that somebody believes in is no role to
// call applied. Only where fields are known can that be told.
func (p paths) took(handle string, want json.RawMessage, f *found) error {
	s, err := pathSpecOf(want)
	if err != nil {
		return err
	}
	fields := knownFields(strings.TrimPrefix(handle, pathPrefix), s.Type)
	for _, name := range slices.Sorted(maps.Keys(s.Fields)) {
		_, known := fields[name]
		if _, told := f.data[name]; fields != nil && !known && !told {
			return driverkit.Refuse("write", handle, fmt.Errorf("no field %s is known to Vault: it took no notice of it", clip(name)), "the rest of the declaration is written")
		}
	}
	return nil
}

// fits says whether a value may stand for what a field holds: Vault reads texts
// as whatever they say.
func fits(holds string, v any) bool {
	text, isText := v.(string)
	switch holds {
	case "bool":
		_, is := v.(bool)
		_, err := strconv.ParseBool(text)
		return is || isText && err == nil
	case "int":
		n, is := v.(json.Number)
		_, err := strconv.ParseInt(string(n)+text, 10, 64)
		return (is || isText) && err == nil
	case "map":
		_, is := v.(map[string]any)
		return is || isText
	case "list":
		_, is := v.(map[string]any)
		return !is
	default:
		_, isMap := v.(map[string]any)
		_, isList := v.([]any)
		return !isMap && !isList
	}
}
