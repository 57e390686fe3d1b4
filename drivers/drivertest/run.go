package drivertest

import (
	"testing"
)

// Run puts a driver through the contract, every sample through every case.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Open == nil || len(h.Samples) == 0 {
		t.Fatal("a Harness needs Open and Samples")
	}
	for _, s := range h.Samples {
		t.Run(s.Kind, func(t *testing.T) {
			for _, c := range cases() {
				t.Run(c.name, func(t *testing.T) {
					if why := h.Skip[c.name]; why != "" {
						t.Skip(why)
					}
					e := h.Open(t)
					b := &bench{T: t, h: h, s: s, e: e}
					if c.needs != nil {
						if why := c.needs(b); why != "" {
							t.Skip(why)
						}
					}
					b.restart()
					c.run(b)
				})
			}
		})
	}
}

// aCase is one stretch of the contract.
type aCase struct {
	name  string
	needs func(*bench) string // why it is skipped, or ""
	run   func(*bench)
}

func cases() []aCase {
	return []aCase{
		{"absent", nil, absent},
		{"create", nil, create},
		{"restart", nil, restart},
		{"twice", nil, twice},
		{"delete", nil, remove},
		{"update", needsB, update},
	}
}

func needsB(b *bench) string {
	if b.s.B == "" {
		return "the sample has no B"
	}
	return ""
}
