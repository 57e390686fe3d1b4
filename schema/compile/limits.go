package compile

import "cmp"

// What a tree may hold. A tree that exceeds one gets a finding that says so;
// what checking may cost is the workers' to say.
const (
	// DefaultFileBytes bounds one declaration file and one file that a spec
	// names.
	DefaultFileBytes = 4 << 20
	// DefaultTreeBytes bounds all declaration files together.
	DefaultTreeBytes = 256 << 20
	// DefaultFiles bounds how many declaration files there may be.
	DefaultFiles = 50_000
	// DefaultDepth bounds how deep values nest.
	DefaultDepth = 64
	// DefaultNodes bounds the values of one document once its aliases are
	// written out.
	DefaultNodes = 100_000

	// maxExpandedBytes bounds the text of one document once its aliases are
	// written out.
	maxExpandedBytes = 16 << 20
	// maxFindings bounds the findings of one file and of one compile.
	maxFindings = 1000
)

// Limits bound what a tree may hold. A zero field means its Default.
type Limits struct {
	FileBytes int64
	TreeBytes int64
	Files     int
	Depth     int
	Nodes     int
}

func (l Limits) withDefaults() Limits {
	l.FileBytes = cmp.Or(l.FileBytes, DefaultFileBytes)
	l.TreeBytes = cmp.Or(l.TreeBytes, DefaultTreeBytes)
	l.Files = cmp.Or(l.Files, DefaultFiles)
	l.Depth = cmp.Or(l.Depth, DefaultDepth)
	l.Nodes = cmp.Or(l.Nodes, DefaultNodes)
	return l
}
