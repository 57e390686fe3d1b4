package drivers

import "context"

type progressKey struct{}

// WithProgress is a context in which Tell calls tell. tell is called from any
// goroutine, and is quick.
func WithProgress(ctx context.Context, tell func(text string)) context.Context {
	return context.WithValue(ctx, progressKey{}, tell)
}

// Tell says, for people, how far a long Apply has come: "terraform_data.db: 2 of
// 10". It holds no secret. The last word is shown while the call runs, and
// nowhere kept.
func Tell(ctx context.Context, text string) {
	if tell, ok := ctx.Value(progressKey{}).(func(string)); ok {
		tell(text)
	}
}
