package policy

import (
	"regexp"
	"strings"
)

// assignRE is a key that tells of a secret with what it is set to, as HCL, YAML,
// JSON, shells and properties write it. What is not quoted may be an expression:
// it has letters and digits only.
var assignRE = regexp.MustCompile(`(?i)(?:^|[\s,{(])["']?([a-z0-9_.-]*(?:passw(?:or)?d|passphrase|secret|token|api_?key|access_?key|private_?key))["']?\s*[:=]\s*` +
	`(?:"([^"\\]{8,256})"|'([^'\\]{8,256})'|([a-z0-9!%^&*+]{8,256})(?:\s*$|\s*[,;}#]))`)

// mostAssignment is how long a line is that is looked at for one, in bytes:
// what people do not write by hand has no such lines.
const mostAssignment = 4096

// assignment is the key that a line sets to what looks like a secret; "" for
// none. The value has letters and digits: words alone are a name or a remark.
func assignment(line string) string {
	if len(line) > mostAssignment || !strings.ContainsAny(line, "=:") {
		return ""
	}
	for _, m := range assignRE.FindAllStringSubmatch(line, -1) {
		value := m[2] + m[3] + m[4]
		if assigned(value) && strings.ContainsAny(value, "0123456789") && !strings.ContainsAny(value, "/:()") && !nameRE.MatchString(value) {
			return m[1]
		}
	}
	return ""
}

// nameRE is a name with a number, or that of a variable of the environment:
// words and numbers, with something between them.
var nameRE = regexp.MustCompile(`^[a-z]+\d{0,3}(?:[-_.](?:[a-z]+\d{0,3}|\d{1,4}))+$|^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$`)
