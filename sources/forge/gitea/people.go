package gitea

import (
	"context"
	"errors"

	api "code.gitea.io/sdk/gitea"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// modes are Gitea's words for access.
var modes = map[api.AccessMode]forge.Permission{
	api.AccessModeOwner: forge.Admin, api.AccessModeAdmin: forge.Admin, api.AccessModeWrite: forge.Write, api.AccessModeRead: forge.Read,
}

// Permission asks for somebody's access. Gitea's answer knows collaborators,
// owners and administrators, but not what a team may by its units, which is how
// teams are made; so the teams of the repository are asked too.
func (f *Forge) Permission(ctx context.Context, name string) (forge.Permission, error) {
	c, err := f.client(ctx)
	if err != nil {
		return forge.None, err
	}
	got, _, err := c.CollaboratorPermission(f.owner, f.name, name)
	if errors.Is(err, forge.ErrGone) || err == nil && got == nil {
		return forge.None, nil // nobody of that name
	}
	if err == nil && modes[got.Permission] < forge.Write {
		var team forge.Permission
		team, err = f.byTeams(c, name)
		return max(team, modes[got.Permission]), forge.Fail("ask for the teams of", f.subject(), err)
	}
	if err != nil {
		return forge.None, forge.Fail("ask for the access of", name+" to "+f.subject(), err)
	}
	return modes[got.Permission], nil
}

// byTeams is the most that a team gives somebody in the repository's code. A
// team that we may not look into gives nothing.
func (f *Forge) byTeams(c *api.Client, name string) (forge.Permission, error) {
	teams, _, err := c.GetRepoTeams(f.owner, f.name)
	if hidden(err) { // a person's repository has no teams
		return forge.None, nil
	}
	most := forge.None
	for _, t := range teams {
		mode := modes[api.AccessMode(t.UnitsMap["repo.code"])]
		if mode <= most {
			continue
		}
		switch _, _, err := c.GetTeamMember(t.ID, name); {
		case hidden(err):
		case err != nil:
			return forge.None, err
		default:
			most = mode
		}
	}
	return most, err
}

func hidden(err error) bool {
	return errors.Is(err, forge.ErrGone) || errors.Is(err, forge.ErrDenied) || errors.Is(err, forge.ErrRefused)
}
