package nomad

import (
	"strconv"
	"strings"
)

// version is State.Version of a job: its JobModifyIndex, and what else can
// alter the answer of a plan. It is written into the inventory, so that it also
// tells, later, what became of the job:
//
//	17                    what Nomad holds is of index 17
//	17 missing web        allocations of web are gone, and nothing replaces them
//	17 running 3          of a system job: on so many nodes
//	17 batch              a batch that has not ended
//	17 finished, 17 spent a batch that ended, well or badly; it does not run again
//	23 reverted           Nomad itself went back to an earlier version
type version struct {
	index uint64
	state string // "", or one of the words below
	rest  string
}

const (
	vMissing  = "missing"
	vRunning  = "running"
	vBatch    = "batch"
	vFinished = "finished"
	vSpent    = "spent"
	vReverted = "reverted"
)

func (v version) String() string {
	s := strconv.FormatUint(v.index, 10)
	if v.state != "" {
		s += " " + v.state
	}
	if v.rest != "" {
		s += " " + v.rest
	}
	return s
}

// ended says whether it is of a batch that ran.
func (v version) ended() bool { return v.state == vFinished || v.state == vSpent }

// ranOnce says whether it is of a batch.
func (v version) ranOnce() bool { return v.ended() || v.state == vBatch }

// parseVersion is the inverse of String; the zero version is of what was never
// applied.
func parseVersion(s string) version {
	first, more, _ := strings.Cut(s, " ")
	index, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return version{}
	}
	v := version{index: index}
	v.state, v.rest, _ = strings.Cut(more, " ")
	return v
}
