package compile

import (
	"context"
	"sync"
)

// inProcess is the runner without worker processes.
type inProcess struct {
	limits Limits

	mu      sync.Mutex
	checker *checker
}

func (p *inProcess) run(ctx context.Context, inputs []input, done func(int, fileResult, bool)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checker == nil {
		c, err := newChecker(p.limits)
		if err != nil {
			return err
		}
		p.checker = c
	}
	for i, in := range inputs {
		if err := ctx.Err(); err != nil {
			return err
		}
		done(i, p.checker.check(in), true)
	}
	return nil
}

func (p *inProcess) close() error { return nil }
