package nomad

import "strings"

// longText is longer than Nomad takes for a description.
var longText = strings.Repeat("x", 300)

func replaceName(text, name string) string { return strings.ReplaceAll(text, "$NAME", name) }
