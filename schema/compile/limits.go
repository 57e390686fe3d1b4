package compile

import "time"

// What a tree may cost. A tree that exceeds one gets a finding that says so.
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
	// DefaultMemory bounds the resident memory of one worker process, in
	// bytes; it is killed above it. The worker collects garbage harder above
	// two thirds of it.
	DefaultMemory = 384 << 20
	// DefaultDeadline bounds the time that one file may take.
	DefaultDeadline = 30 * time.Second
	// DefaultWorkers is how many worker processes check at once.
	DefaultWorkers = 2
	// DefaultRecycle is the resident memory above which an idle worker is
	// ended, to be started again when it is needed, in bytes.
	DefaultRecycle = 128 << 20

	// maxExpandedBytes bounds the text of one document once its aliases are
	// written out.
	maxExpandedBytes = 16 << 20
	// maxFindings bounds the findings of one file and of one compile.
	maxFindings = 1000
	// maxKills is how many files may exceed memory or deadline before the
	// rest of a tree is not checked any more.
	maxKills = 5
)

// Limits bound what a compile may cost. A zero field means its Default.
type Limits struct {
	FileBytes int64
	TreeBytes int64
	Files     int
	Depth     int
	Nodes     int
	Memory    int64
	Deadline  time.Duration
	Workers   int
	Recycle   int64
}

func (l Limits) withDefaults() Limits {
	fill(&l.FileBytes, DefaultFileBytes)
	fill(&l.TreeBytes, DefaultTreeBytes)
	fill(&l.Files, DefaultFiles)
	fill(&l.Depth, DefaultDepth)
	fill(&l.Nodes, DefaultNodes)
	fill(&l.Memory, DefaultMemory)
	fill(&l.Deadline, DefaultDeadline)
	fill(&l.Workers, DefaultWorkers)
	fill(&l.Recycle, DefaultRecycle)
	return l
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
