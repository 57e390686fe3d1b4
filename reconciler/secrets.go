package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// filling is one secret field of an apply: which parts its string has, and
// whom to ask for the secret ones.
type filling struct {
	path  schema.Path
	parts []part
}

type part struct {
	lit    string
	driver drivers.Driver // nil: lit
	item   drivers.Item
	output string
	token  string // the fingerprint that the change was planned with
}

// fillings are the secret fields of a plan of n, ready to be asked for: by the
// call, between Begin and Apply, so that no plaintext is in memory for longer.
func (w *World) fillings(n *Node, p *Planned) []filling {
	if p.Want == nil || len(p.Want.Secrets) == 0 {
		return nil
	}
	var fills []filling
	fields := n.declared(p).Fields
	for i := range fields {
		f := &fields[i]
		if _, secret := p.Want.Secrets[f.Path]; !secret {
			continue
		}
		fill := filling{path: f.Path}
		for _, seg := range f.Parts {
			if seg.Ref == nil {
				fill.parts = append(fill.parts, part{lit: seg.Lit})
				continue
			}
			need := w.asked(f.To[*seg.Ref])
			out := need.Live.State.Outputs[seg.Ref.Output]
			if !out.Secret {
				live := func(*graph.Node) map[string]drivers.Output { return need.Live.State.Outputs }
				fill.parts = append(fill.parts, part{lit: plan.Plain(*seg.Ref, f.To[*seg.Ref], live)})
				continue
			}
			fill.parts = append(fill.parts, part{driver: w.Targets[need.ID.Target].Driver, item: need.item(nil), output: seg.Ref.Output, token: out.Fingerprint})
		}
		fills = append(fills, fill)
	}
	return fills
}

// reveal asks for the secrets of a change.
func reveal(ctx context.Context, fills []filling) (map[schema.Path]schema.Secret, error) {
	if len(fills) == 0 {
		return nil, nil
	}
	secrets := map[schema.Path]schema.Secret{}
	for _, f := range fills {
		var b strings.Builder
		for _, p := range f.parts {
			if p.driver == nil {
				b.WriteString(p.lit)
				continue
			}
			r, ok := drivers.As[drivers.Revealer](p.driver)
			if !ok {
				return nil, fmt.Errorf("%s has a secret output, and its driver cannot reveal one: %w", p.item.ID, drivers.ErrPermanent)
			}
			s, err := r.Reveal(ctx, p.item, p.output, p.token)
			if err != nil {
				return nil, revealFailed(p, err)
			}
			b.WriteString(s.Reveal())
		}
		secrets[f.path] = schema.NewSecret(b.String())
	}
	return secrets, nil
}

// revealFailed never says stale nor out of reach: it was not this resource's
// live that moved, nor its target that did not answer, and nothing was
// written.
func revealFailed(p part, err error) error {
	if errors.Is(err, drivers.ErrStale) || errors.Is(err, drivers.ErrUnreachable) {
		return fmt.Errorf("secret of %s: %w (%v)", p.item.ID, drivers.ErrWaiting, err)
	}
	return fmt.Errorf("secret of %s: %w", p.item.ID, err)
}
