package worker

import (
	"cmp"
	"time"
)

// What evaluating may cost.
const (
	// DefaultMemory bounds the resident memory of one worker process, in
	// bytes; it is killed above it. The worker collects garbage harder above
	// two thirds of it.
	DefaultMemory = 384 << 20
	// DefaultDeadline bounds the time that one item may take.
	DefaultDeadline = 30 * time.Second
	// DefaultProcesses is how many worker processes run at once.
	DefaultProcesses = 2
	// DefaultRecycle is the resident memory above which an idle worker is
	// ended, to be started again when it is needed, in bytes.
	DefaultRecycle = 128 << 20

	// maxKills is how many items of a job may exceed memory or deadline before
	// the rest is not handled any more.
	maxKills = 5
)

// Limits bound what evaluating may cost. A zero field means its Default.
type Limits struct {
	Memory    int64
	Deadline  time.Duration
	Processes int
	Recycle   int64
}

func (l Limits) withDefaults() Limits {
	l.Memory = cmp.Or(l.Memory, DefaultMemory)
	l.Deadline = cmp.Or(l.Deadline, DefaultDeadline)
	l.Processes = cmp.Or(l.Processes, DefaultProcesses)
	l.Recycle = cmp.Or(l.Recycle, DefaultRecycle)
	return l
}
