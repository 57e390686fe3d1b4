package vault

import (
	"strings"
)

// rules is what is known of a path beyond that it can be read, written and
// deleted.
type rules struct {
	read, write, remove string // paths
	flatten             string // what is read lies in this field: the others are read from it
	config              string // where fields that can be altered are written to; empty: to write
	fixed               func(field string) bool
	whole               bool   // a write replaces everything: secrets are sent again, whether they moved or not
	leases              string // what it gave out is leased below this path: taken back before it goes, while its engine still can
	lasting             bool   // it cannot be deleted: it goes with its mount
	always              bool   // it is there as soon as its mount is, and nobody's until it is declared
}

// collections are where the roles of a mount are, by type.
var collections = map[string]string{
	"jwt": "role", "oidc": "role", "approle": "role", "kubernetes": "role", "aws": "role", "gcp": "role", "azure": "role",
	"cert": "certs", "userpass": "users", "ldap": "groups", "database": "roles", "pki": "roles", "ssh": "roles", "transit": "keys",
}

// typeOf is the type of a mount: as declared, or as its path says, where it is
// mounted under its own name.
func typeOf(declared, mount string) string {
	if declared != "" {
		return declared
	}
	last := mount[strings.LastIndexByte(mount, '/')+1:]
	if _, known := collections[last]; known {
		return last
	}
	return ""
}

// collection is where the roles of a mount are.
func collection(typ, mount string) string {
	if c, known := collections[typ]; known && !(typ == "aws" && !strings.HasPrefix(mount, "auth/")) {
		return c
	}
	if strings.HasPrefix(mount, "auth/") {
		return "role"
	}
	return "roles"
}

// rulesOf finds what is known of the path that a handle names. typ may be
// empty.
func rulesOf(path, typ string) rules {
	r := rules{read: path, write: path, remove: path, fixed: func(string) bool { return false }}
	mount, rest := mountOf(path)
	switch typeOf(typ, mount) {
	case "jwt", "oidc", "kubernetes":
		r.whole = rest == "config"
		r.lasting = rest == "config"
	case "database", "aws", "azure", "consul", "nomad", "rabbitmq":
		if role, ok := strings.CutPrefix(rest, "roles/"); ok && !strings.HasPrefix(mount, "auth/") {
			r.leases = mount + "/creds/" + role
		}
		if strings.HasPrefix(rest, "config/") && typeOf(typ, mount) == "database" {
			r.flatten = "connection_details"
		}
	case "transit":
		if strings.HasPrefix(rest, "keys/") && strings.Count(rest, "/") == 1 {
			r.config = path + "/config"
			r.fixed = func(f string) bool { return !transitConfig[f] }
		}
		r.lasting = strings.HasPrefix(rest, "config/")
		r.always = r.lasting
	case "pki":
		r.lasting = strings.HasPrefix(rest, "config/")
		r.always = r.lasting
		if path, name, ok := rootOf(path); ok {
			issuer := mount + "/issuer/" + name
			r = rules{read: issuer, write: path, remove: issuer, fixed: func(string) bool { return true }}
		}
	}
	return r
}

const generateRoot = "/" + "root/generate/"

// rootOf splits the path of a root certificate as handles have it, with the
// issuer's name at the end: what it is made by does not say which it is, and
// makes another each time.
func rootOf(path string) (generate, issuer string, ok bool) {
	i := strings.Index(path, generateRoot)
	if i < 0 {
		return path, "", false
	}
	how, issuer, ok := strings.Cut(path[i+len(generateRoot):], "/")
	return path[:i+len(generateRoot)] + how, issuer, ok
}

// transitConfig are the fields of a key that can be altered.
var transitConfig = map[string]bool{
	"min_decryption_version": true, "min_encryption_version": true, "deletion_allowed": true,
	"exportable": true, "allow_plaintext_backup": true, "auto_rotate_period": true,
}

// mountOf splits a path where its mount probably ends: mounts may have more
// than one part, and then a type has to be declared and the path be split by
// what is known to lie below.
func mountOf(path string) (mount, rest string) {
	first := -1
	for _, below := range []string{"/config", "/roles/", "/role/", "/keys/", "/users/", "/groups/", "/certs/", generateRoot, "/issuer/"} {
		i := strings.Index(path, below)
		end := i + len(below)
		if i > 0 && (strings.HasSuffix(below, "/") || len(path) == end || path[end] == '/') && (first < 0 || i < first) {
			first = i
		}
	}
	if first > 0 {
		return path[:first], path[first+1:]
	}
	n := 1
	if strings.HasPrefix(path, "auth/") {
		n = 2
	}
	parts := strings.SplitN(path, "/", n+1)
	if len(parts) <= n {
		return path, ""
	}
	return strings.Join(parts[:n], "/"), parts[n]
}
