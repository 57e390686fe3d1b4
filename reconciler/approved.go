package reconciler

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// CheckDigest says what keeps a text from being a digest, or enough of one to
// name what is pending: ErrDigest.
func CheckDigest(text string) error {
	if len(text) < minDigest || strings.Trim(text, "0123456789abcdef") != "" {
		return misnamed(fmt.Sprintf("%q is no digest: that is %d hex digits or more", text, minDigest))
	}
	return nil
}

// CheckReason says why a yes needs a reason that it does not give.
func (y Yes) CheckReason() error {
	switch unsaid := strings.TrimSpace(y.Why) == ""; {
	case unsaid && len(y.Overrides) > 0:
		return advised{errors.New("overriding a policy wants a reason"), `say why: --reason "…"`}
	case unsaid && y.Outside:
		return advised{errors.New("running outside the windows wants a reason"), `say why: --why "…"`}
	}
	return nil
}

// misnamed is an ErrDigest in words of its own, where the digest is not what is
// wrong with it, or no digest at all.
type misnamed string

func (m misnamed) Error() string { return string(m) }
func (m misnamed) Unwrap() error { return ErrDigest }

// tellStill puts beside what was just approved what holds it all the same, and
// answers what the approval lets through, of what was held: the other part. It
// is called with mu held, and with the approval in the world.
func (r *Reconciler) tellStill(chosen []PlannedChange) (let []schema.ID) {
	now := r.planNow().Changes
	for i := range chosen {
		c := &chosen[i]
		if at := slices.IndexFunc(now, func(n PlannedChange) bool { return n.ID == c.ID && n.Digest == c.Digest }); at >= 0 {
			c.Still = now[at].Held
		}
		if len(c.Held) > 0 && len(c.Still) == 0 {
			let = append(let, c.ID)
		}
	}
	slices.SortFunc(let, func(a, b schema.ID) int { return cmp.Compare(a.String(), b.String()) })
	return let
}

// mostAudited is how many resources one entry of the audit names.
const mostAudited = 100

// audited are the names of what an approval let through, for the audit.
func audited(let []schema.ID) (names []string, more int) {
	for _, id := range let[:min(len(let), mostAudited)] {
		names = append(names, id.String())
	}
	return names, len(let) - len(names)
}
