package reconciler

import (
	"context"

	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// Means are by which somebody pulls a lever, for the audit.
type Means string

// The means.
const (
	MeansHere    Means = "data folder" // opened by the command itself: nothing else is known of a call
	MeansSocket  Means = "socket"      // whose other end the kernel vouches for
	MeansToken   Means = "token"
	MeansReview  Means = "review"    // on the forge
	MeansComment Means = "comment"   // on the forge
	MeansSigned  Means = "signature" // of a key in the list: of a tag, or of a merge
	MeansItself  Means = "itself"    // nobody asked
)

type meansKey struct{}

// WithMeans is a context for levers that are pulled by some means.
func WithMeans(ctx context.Context, m Means) context.Context {
	return context.WithValue(ctx, meansKey{}, m)
}

// MeansOf is what WithMeans said.
func MeansOf(ctx context.Context) Means {
	if m, ok := ctx.Value(meansKey{}).(Means); ok {
		return m
	}
	return MeansHere
}

// Asked keeps in the audit that somebody asked for a change of the declarations,
// which is proposed in the name of aplomb. Safe for concurrent use.
func (r *Reconciler) Asked(ctx context.Context, by, subject, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pull(ctx, by, "propose", subject, why, store.Result{})
}
