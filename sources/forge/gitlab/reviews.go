package gitlab

import (
	"context"
	"time"

	api "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// approvedNote is what GitLab itself notes when somebody approves. Its wording
// has been the same since approvals exist; where it were another one day, an
// approval would be for no commit, and not count.
const approvedNote = "approved this merge request"

// Reviews puts together who approves now and who wants changes. GitLab keeps an
// approval on the merge request and not on a commit: the commit is the newest
// version that was there when it was given. Who approves in the very moment of
// a push may have seen the version before it; GitLab cannot tell.
func (f *Forge) Reviews(ctx context.Context, p forge.Proposal) ([]forge.Review, error) {
	const op = "read the approvals of"
	n, err := f.number(op, p)
	if err != nil {
		return nil, err
	}
	out, err := f.reviews(ctx, n)
	return out, forge.Fail(op, f.subject(p.ID), err)
}

func (f *Forge) reviews(ctx context.Context, n int64) ([]forge.Review, error) {
	// GitLab's own order of reading matters: versions last, so that one that an
	// approval was given for is among them.
	approvals, _, err := f.client.MergeRequestApprovals.GetConfiguration(f.project, n, api.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	reviewers, _, err := f.client.MergeRequests.GetMergeRequestReviewers(f.project, n, api.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	var history []forge.Review
	for _, r := range reviewers {
		if r.State == "requested_changes" && r.User != nil {
			history = append(history, forge.Review{Author: user(r.User), Verdict: forge.Changes, At: at(r.CreatedAt)})
		}
	}
	if len(approvals.ApprovedBy) == 0 {
		return forge.LastWords(history), nil
	}
	given, err := f.given(ctx, n, approvals)
	if err != nil {
		return nil, err
	}
	versions, err := pages(nil, func(o api.ListOptions) ([]*api.MergeRequestDiffVersion, *api.Response, error) {
		return f.client.MergeRequests.GetMergeRequestDiffVersions(f.project, n, &api.GetMergeRequestDiffVersionsOptions{ListOptions: o}, api.WithContext(ctx))
	})
	if err != nil {
		return nil, err
	}
	for _, a := range approvals.ApprovedBy {
		if a.User == nil {
			continue
		}
		when := given[a.User.ID]
		history = append(history, forge.Review{Author: user(a.User), Verdict: forge.Approved, At: when, Commit: versionAt(versions, when)})
	}
	return forge.LastWords(history), nil
}

// given is when each approval was given: GitLab says so since version 18, and
// before that in a note of its own.
func (f *Forge) given(ctx context.Context, n int64, a *api.MergeRequestApprovals) (map[int64]time.Time, error) {
	when := map[int64]time.Time{}
	missing := false
	for _, by := range a.ApprovedBy {
		if by.User != nil {
			when[by.User.ID] = at(by.ApprovedAt)
			missing = missing || by.ApprovedAt == nil
		}
	}
	if !missing {
		return when, nil
	}
	notes, err := f.notes(ctx, n, "created_at", "asc", nil)
	for _, note := range notes {
		if !note.System || note.Body != approvedNote {
			continue
		}
		if t, approves := when[note.Author.ID]; approves && at(note.CreatedAt).After(t) {
			when[note.Author.ID] = at(note.CreatedAt)
		}
	}
	return when, err
}

// versionAt is the head of the newest version at a time; empty where the time
// is not known, or no version is that old.
func versionAt(versions []*api.MergeRequestDiffVersion, when time.Time) string {
	head, newest := "", time.Time{}
	for _, v := range versions {
		if t := at(v.CreatedAt); !when.IsZero() && !t.After(when) && !t.Before(newest) {
			head, newest = v.HeadCommitSHA, t
		}
	}
	return head
}

func (f *Forge) notes(ctx context.Context, n int64, by, order string, take func(*api.Note) bool) ([]*api.Note, error) {
	opts := &api.ListMergeRequestNotesOptions{OrderBy: &by, Sort: &order}
	return pages(take, func(o api.ListOptions) ([]*api.Note, *api.Response, error) {
		opts.ListOptions = o
		return f.client.Notes.ListMergeRequestNotes(f.project, n, opts, api.WithContext(ctx))
	})
}
