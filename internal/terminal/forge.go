package terminal

import "github.com/aplomb-dev/aplomb/reconciler"

// unread is what cannot be read on the forge.
type unread struct {
	what reconciler.ForgeLook
	reconciler.SourceStatus
}

// failing is what cannot be read on a forge, the worst first.
func failing(f *reconciler.ForgeStatus) []unread {
	var all []unread
	if f != nil && f.Reviews != nil && !f.Reviews.OK {
		all = append(all, unread{reconciler.LookReviews, *f.Reviews})
	}
	if f != nil && f.Proposals != nil && !f.Proposals.OK {
		all = append(all, unread{reconciler.LookProposals, *f.Proposals})
	}
	return all
}

// words say what cannot be read, why, and what follows.
func (u unread) words(s reconciler.Status) string {
	if u.what == reconciler.LookProposals {
		return "proposals: " + u.Error + "; they are not planned meanwhile"
	}
	text := "reviews: " + u.Error
	if s.Counts[reconciler.Held] > 0 {
		text += "; what is held stays so, unless it is approved by hand"
	}
	return text
}

// forgeCell is the forge in the summary; empty where nobody has looked at one.
func (p *Printer) forgeCell(f *reconciler.ForgeStatus) cell {
	if f == nil {
		return cell{}
	}
	bad := failing(f)
	if len(bad) == 0 {
		return text(" · forge ok")
	}
	since := bad[0].Since
	for _, u := range bad[1:] {
		if u.Since.Before(since) {
			since = u.Since
		}
	}
	return styled(" · forge failing"+p.since(since), red)
}
