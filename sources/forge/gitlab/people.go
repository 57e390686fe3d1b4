package gitlab

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	api "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Comments reads the notes that people wrote; those that GitLab wrote about
// what they did are left out. The list cannot be asked for a time, so it is
// read from the last change back.
func (f *Forge) Comments(ctx context.Context, p forge.Proposal, since time.Time) ([]forge.Comment, error) {
	const op = "read the comments of"
	n, err := f.number(op, p)
	if err != nil {
		return nil, err
	}
	me, err := f.self(ctx)
	if err != nil {
		return nil, forge.Fail("ask who we are on", f.subject(), err)
	}
	since = since.Truncate(time.Second)
	recent := func(note *api.Note) bool { return !at(note.UpdatedAt).Before(since) }
	notes, err := f.notes(ctx, n, "updated_at", "desc", recent)
	if err != nil {
		return nil, forge.Fail(op, f.subject(p.ID), err)
	}
	var out []forge.Comment
	for _, note := range notes {
		if !note.System && recent(note) {
			out = append(out, comment(note, me))
		}
	}
	slices.SortStableFunc(out, func(a, b forge.Comment) int { return a.At.Compare(b.At) })
	return out, nil
}

// comment is a note. Resolving a thread counts as a change of it, too.
func comment(note *api.Note, me forge.Account) forge.Comment {
	by := account(note.Author.ID, note.Author.Username)
	return forge.Comment{
		ID: strconv.FormatInt(note.ID, 10), Author: by, Ours: by.ID != "" && by.ID == me.ID, Body: note.Body,
		At: at(note.CreatedAt), Edited: !at(note.UpdatedAt).Equal(at(note.CreatedAt)),
	}
}

// Members lists a group, without what it has from the groups above it.
func (f *Forge) Members(ctx context.Context, team string) ([]forge.Account, error) {
	list, err := pages(nil, func(o api.ListOptions) ([]*api.GroupMember, *api.Response, error) {
		return f.client.Groups.ListGroupMembers(team, &api.ListGroupMembersOptions{ListOptions: o}, api.WithContext(ctx))
	})
	if err != nil {
		return nil, forge.Fail("list the group", team, err)
	}
	var out []forge.Account
	for _, m := range list {
		if m.State == "active" {
			out = append(out, account(m.ID, m.Username))
		}
	}
	return out, nil
}

// Permission asks for somebody's access, groups counted in.
func (f *Forge) Permission(ctx context.Context, name string) (forge.Permission, error) {
	const op = "ask for the access of"
	users, _, err := f.client.Users.ListUsers(&api.ListUsersOptions{Username: &name}, api.WithContext(ctx))
	if err != nil {
		return forge.None, forge.Fail(op, name+" to "+f.subject(), err)
	}
	i := slices.IndexFunc(users, func(u *api.User) bool { return strings.EqualFold(u.Username, name) })
	if i < 0 {
		return forge.None, nil
	}
	m, _, err := f.client.ProjectMembers.GetInheritedProjectMember(f.project, users[i].ID, api.WithContext(ctx))
	switch {
	case errors.Is(err, forge.ErrGone):
		return forge.None, nil
	case err != nil:
		return forge.None, forge.Fail(op, name+" to "+f.subject(), err)
	case m.State != "active" || m.AccessLevel < api.GuestPermissions:
		return forge.None, nil
	case m.AccessLevel >= api.MaintainerPermissions:
		return forge.Admin, nil
	case m.AccessLevel >= api.DeveloperPermissions:
		return forge.Write, nil
	}
	return forge.Read, nil
}
