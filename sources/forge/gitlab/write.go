package gitlab

import (
	"context"
	"errors"
	"strconv"
	"strings"

	api "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Comment keeps one comment of ours for each key.
func (f *Forge) Comment(ctx context.Context, p forge.Proposal, key, body string) error {
	const op = "comment on"
	n, err := f.number(op, p)
	if err != nil {
		return err
	}
	text, err := forge.Compose(key, body, f.Limits().Comment)
	if err != nil {
		return forge.Fail(op, f.subject(p.ID), err)
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return forge.Fail(op, f.subject(p.ID), f.comment(ctx, n, key, text))
}

func (f *Forge) comment(ctx context.Context, n int64, key, text string) error {
	me, err := f.self(ctx)
	if err != nil {
		return err
	}
	old, err := forge.Find(key, me, func(take func(forge.Comment) bool) error {
		_, err := f.notes(ctx, n, "created_at", "asc", func(note *api.Note) bool { return note.System || take(comment(note, me)) })
		return err
	})
	switch {
	case err != nil:
		return err
	case old == nil:
		_, _, err = f.client.Notes.CreateMergeRequestNote(f.project, n, &api.CreateMergeRequestNoteOptions{Body: &text}, api.WithContext(ctx))
		return err
	case forge.Same(old.Body, text):
		return nil
	}
	id, err := strconv.ParseInt(old.ID, 10, 64)
	if err != nil {
		return err
	}
	_, _, err = f.client.Notes.UpdateMergeRequestNote(f.project, n, id, &api.UpdateMergeRequestNoteOptions{Body: &text}, api.WithContext(ctx))
	return err
}

// states are GitLab's words. It has none for an error that is not the commit's.
var states = map[forge.StatusState]api.BuildStateValue{
	forge.Pending: api.Pending, forge.Success: api.Success, forge.Failure: api.Failed, forge.Errored: api.Failed,
}

// Status writes a commit status, where the newest of its context differs.
func (f *Forge) Status(ctx context.Context, commit string, s forge.Status) error {
	const op = "set the status of"
	s = s.Fit(f.Limits())
	if states[s.State] == "" {
		return forge.Refuse(op, f.project+"@"+commit, "there is no state "+string(s.State), "")
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return forge.Fail(op, f.project+"@"+commit, f.status(ctx, commit, s))
}

func (f *Forge) status(ctx context.Context, commit string, s forge.Status) error {
	list, err := pages(nil, func(o api.ListOptions) ([]*api.CommitStatus, *api.Response, error) {
		return f.client.Commits.GetCommitStatuses(f.project, commit, &api.GetCommitStatusesOptions{ListOptions: o, Name: &s.Context}, api.WithContext(ctx))
	})
	if err != nil {
		return err
	}
	var have *api.CommitStatus
	for _, old := range list {
		if old.Name == s.Context && (have == nil || old.ID > have.ID) {
			have = old
		}
	}
	if have != nil && have.Status == string(states[s.State]) && have.Description == s.Description && have.TargetURL == s.URL {
		return nil
	}
	opts := &api.SetCommitStatusOptions{State: states[s.State], Name: &s.Context, Description: &s.Description}
	if s.URL != "" {
		opts.TargetURL = &s.URL
	}
	_, _, err = f.client.Commits.SetCommitStatus(f.project, commit, opts, api.WithContext(ctx))
	if have != nil && have.Status == string(states[s.State]) && stuck(err) {
		return nil
	}
	return err
}

// stuck says whether GitLab refuses to write the state that there is already,
// with a new description: what it shows is right, but for the words.
func stuck(err error) bool {
	return errors.Is(err, forge.ErrRefused) && strings.Contains(err.Error(), "Cannot transition status")
}
