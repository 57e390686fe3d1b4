package drivertest

import (
	"fmt"
	"slices"
	"testing"
)

// Run puts a driver through the contract: every sample through every case. A
// case for which the harness lacks something is skipped and says what.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Open == nil || len(h.Samples) == 0 {
		t.Fatal("a Harness needs Open and Samples")
	}
	for name := range h.Skip {
		if !slices.ContainsFunc(cases(), func(c aCase) bool { return c.name == name }) {
			t.Fatalf("a Harness skips %q, which is no case", name)
		}
	}
	for _, s := range h.Samples {
		t.Run(s.Kind, func(t *testing.T) {
			for _, c := range cases() {
				t.Run(c.name, func(t *testing.T) { runCase(t, h, s, c) })
			}
		})
	}
}

func runCase(t *testing.T, h Harness, s Sample, c aCase) {
	if why := h.Skip[c.name]; why != "" {
		t.Skip(why)
	}
	b := &bench{T: t, h: h, s: s, e: h.Open(t)}
	b.restart()
	for _, need := range c.needs {
		if lacks := need(b); lacks != "" {
			t.Skipf("the harness has no %s", lacks)
		}
	}
	c.run(b)
}

// aCase is one stretch of the contract.
type aCase struct {
	name  string
	run   func(*bench)
	needs []need
}

// need names what a case needs and the harness lacks, or "".
type need func(*bench) string

func cases() []aCase {
	return []aCase{
		{"checked", checked, []need{checker}},
		{"claims", claims, []need{claimer}},
		{"needs", needs, []need{needer}},

		{"absent", absent, nil},
		{"create", create, nil},
		{"restart", restart, nil},
		{"twice", twice, nil},
		{"delete", remove, nil},
		{"deleted meanwhile", deletedMeanwhile, []need{hookDelete}},

		{"update", update, []need{variantB}},
		{"replace", replace, []need{variantC}},
		{"refused", refused, []need{variantX}},
		{"deterministic", deterministic, []need{variantB}},
		{"beside", beside, []need{variantB}},
		{"stale", stale, []need{variantB, hookEdit, notBlind}},
		{"drift", drift, []need{variantB, hookEdit}},
		{"gone", gone, []need{hookDelete}},
		{"unknown", unknown, []need{fieldUnknown}},

		{"secret field", secretField, []need{fieldSecret}},
		{"secret token", secretToken, []need{fieldSecret}},
		{"secret output", secretOutput, []need{outputSecret}},

		{"handles", handles, nil},
		{"transfer", transfer, []need{variantP}},
		{"given id", givenID, []need{idGiven}},
		{"adopt", adopt, []need{variantB, hookCreate}},
		{"own mark", ownMark, []need{hookCreate, marked}},
		{"foreign mark", foreignMark, []need{hookMark, marked}},
		{"lost mark", lostMark, []need{hookMark, marked}},
		{"crash after create", crashAfterCreate, []need{nonced}},

		{"order", order, []need{notAlone}},
		{"concurrent", concurrent, []need{notAlone}},
		{"cancelled", cancelled, nil},
		{"cut off", cutOff, nil},
		{"list", list, []need{lister}},
		{"watch", watch, []need{watcher, variantB, hookEdit}},
		{"unreachable", unreachable, []need{hookReach}},
		{"denied", denied, []need{hookDeny}},
	}
}

func lacking(lacks bool, what string) string {
	if lacks {
		return what
	}
	return ""
}

func variantB(b *bench) string { return lacking(b.s.B == "", "variant B") }
func variantC(b *bench) string { return lacking(b.s.C == "", "variant C") }
func variantP(b *bench) string { return lacking(b.s.P == "", "variant P") }
func variantX(b *bench) string { return lacking(b.s.X == "", "variant X") }
func fieldUnknown(b *bench) string {
	return lacking(b.s.Unknown == "", "field that may hold a reference")
}
func fieldSecret(b *bench) string  { return lacking(b.s.Secret == "", "field that takes a secret") }
func outputSecret(b *bench) string { return lacking(len(b.s.Secrets) == 0, "secret output") }
func hookCreate(b *bench) string   { return lacking(b.e.Create == nil, "hook Create") }
func hookEdit(b *bench) string     { return lacking(b.e.Edit == nil, "hook Edit") }
func hookDelete(b *bench) string   { return lacking(b.e.Delete == nil, "hook Delete") }
func hookMark(b *bench) string     { return lacking(b.e.Mark == nil, "hook Mark") }
func hookReach(b *bench) string    { return lacking(b.e.Reach == nil, "hook Reach") }
func hookDeny(b *bench) string     { return lacking(b.e.Deny == nil, "hook Deny") }
func marked(b *bench) string       { return lacking(!b.s.Marks, "engine with room for marks") }
func notBlind(b *bench) string     { return lacking(b.s.Blind, "engine that can tell that live moved") }
func notAlone(b *bench) string     { return lacking(b.s.Alone, "specs of which two can live at once") }
func nonced(b *bench) string       { return lacking(b.s.AtLeastOnce, "engine that takes a nonce") }

func idGiven(b *bench) string {
	it := b.sample(b.s.A)
	return lacking(it.Handle != "", fmt.Sprintf("kind whose id the engine gives: the handle is %s", it.Handle))
}
