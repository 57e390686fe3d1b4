package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

func (r *Reporter) signature() object.Signature {
	return object.Signature{Name: r.cfg.Name, Email: r.cfg.Email, When: r.cfg.Now().UTC()}
}

// push offers a commit on top of base to the server. errRaced: the branch is
// not at base any more.
func (r *Reporter) push(ctx context.Context, base, commit plumbing.Hash, made []plumbing.Hash) error {
	var refused refusedError
	switch err := r.remote().push(ctx, r.ref, base, commit, made); {
	case errors.As(err, &refused):
		return r.refused(ctx, base, refused.error)
	case err != nil:
		return err
	}
	return r.store.mark("refs/aplomb/status", commit)
}

// refusedError is a push that reached the server and did not go through.
type refusedError struct{ error }

func (r refusedError) Unwrap() error { return r.error }

// push moves a branch of the server from what it was to a commit, with the
// objects that were made for it. errRaced: it is not at that any more.
func (r remote) push(ctx context.Context, ref plumbing.ReferenceName, was, commit plumbing.Hash, made []plumbing.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	session, err := r.wire.receive(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	defer session.Close() // the answer has arrived, or failed already
	adv, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	if adv.References[ref.String()] != was {
		return errRaced
	}
	pack, err := r.store.pack(made)
	if err != nil {
		return err
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(adv.Capabilities)
	req.Commands = []*packp.Command{{Name: ref, Old: was, New: commit}}
	req.Packfile = io.NopCloser(bytes.NewReader(pack))
	report, err := session.ReceivePack(ctx, req)
	if err == nil && report == nil {
		err = errors.New("the server did not say whether it took the push")
	}
	if err != nil {
		return refusedError{explain(ctx, err)}
	}
	return nil
}

// refused finds out whether a push failed because somebody was faster.
func (r *Reporter) refused(ctx context.Context, base plumbing.Hash, err error) error {
	if errors.Is(err, transport.ErrAuthenticationRequired) || errors.Is(err, transport.ErrAuthorizationFailed) {
		return withHint(err, "reports need a token or key that may write to "+r.cfg.Branch)
	}
	now, lookErr := r.base(ctx)
	if lookErr == nil && now != base {
		return fmt.Errorf("%w: %w", errRaced, err)
	}
	return withHint(fmt.Errorf("the server refused the push: %w", err),
		"let the account of this environment write to "+r.cfg.Branch+", or switch reports off")
}

// pack is the pack of the objects.
func (s *store) pack(objects []plumbing.Hash) ([]byte, error) {
	var buf bytes.Buffer
	err := s.with(func() error {
		buf.Reset()
		_, err := packfile.NewEncoder(&buf, s.own, false).Encode(objects, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pack what is to be pushed: %w", err)
	}
	return buf.Bytes(), nil
}
