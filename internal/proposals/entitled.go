package proposals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// entitled says whether somebody's word counts, and for which owners they speak.
// Who owns something is heard about that, whoever else may review. Where no
// reviews are wanted nobody means one as leave for what is held: only naming the
// plan is.
func (a *Approver) entitled(ctx context.Context, w yes) (counts bool, speaks []string, err error) {
	who := w.by
	if who.Bot || who.Name == "" {
		return false, nil, nil
	}
	switch {
	case !a.Reviews && w.digest == "":
	case len(a.Teams) == 0:
		p, err := a.Forge.Permission(ctx, who.Name)
		if err != nil {
			return false, nil, err
		}
		counts = p >= forge.Write
	default:
		for _, team := range a.Teams {
			in, err := a.member(ctx, team, who)
			if err != nil {
				return false, nil, err
			}
			counts = counts || in
		}
	}
	for _, owner := range a.Owners {
		name, person := strings.CutPrefix(owner, "@")
		in := person && who.Is(name)
		if !person {
			if in, err = a.member(ctx, owner, who); err != nil {
				return false, nil, err
			}
		}
		if in {
			speaks = append(speaks, owner)
		}
	}
	return counts, speaks, nil
}

// member says whether somebody is in a team. Nobody is in one that is not there,
// or where there are no teams: only tokens speak for those.
func (a *Approver) member(ctx context.Context, team string, who forge.Account) (bool, error) {
	members, known := a.rolls[team]
	if !known {
		var err error
		if members, err = a.Forge.Members(ctx, team); err != nil && !errors.Is(err, forge.ErrGone) && !errors.Is(err, forge.ErrUnsupported) {
			return false, fmt.Errorf("team %s: %w", team, err)
		}
		a.rolls[team] = members
	}
	return slices.ContainsFunc(members, func(m forge.Account) bool { return m.Is(who.Name) }), nil
}
