package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/aplomb-dev/aplomb/sources"
)

// wire opens conversations with a server. The context bounds the whole
// conversation, not only its opening.
type wire interface {
	upload(ctx context.Context) (transport.UploadPackSession, error)
	receive(ctx context.Context) (transport.ReceivePackSession, error)
}

func newWire(at location, auth Auth, maxPack int64) (wire, error) {
	if at.kind == overSSH {
		return &sshWire{at: at, auth: auth, limit: maxPack}, nil
	}
	return newHTTPWire(at, auth, maxPack)
}

// haves is how many of its newest commits a mirror tells the server about.
const haves = 256

// pull asks the server for the tip and fetches it where it is new.
func (s *Source) pull(ctx context.Context) (plumbing.Hash, error) {
	h, err := s.pullRef(ctx, s.cfg.ref(), "refs/aplomb/tip")
	if err != nil {
		return h, err
	}
	h, err = s.store.peel(h)
	return h, damaged(err)
}

// pullRef fetches one ref of the server, as remote.pull does, one conversation
// at a time.
func (s *Source) pullRef(ctx context.Context, ref, mark plumbing.ReferenceName) (plumbing.Hash, error) {
	if err := s.takeTurn(ctx); err != nil {
		return plumbing.ZeroHash, err
	}
	defer func() { <-s.net }()
	h, _, err := s.remote().pull(ctx, ref, mark)
	return h, err
}

// takeTurn waits for the right to speak to the server.
func (s *Source) takeTurn(ctx context.Context) error {
	select {
	case s.net <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) remote() remote {
	return remote{store: s.store, wire: s.wire, timeout: s.cfg.Timeout, limit: s.cfg.MaxPack}
}

// remote is a server's repository with the mirror of one of its refs.
type remote struct {
	store   *store
	wire    wire
	timeout time.Duration
	limit   int64
}

// pull brings the objects of the server's ref and points mark at them. It also
// tells the branch that the server's HEAD names, where the server says so. A
// ref that the server does not have is sources.ErrGone.
func (r remote) pull(ctx context.Context, ref, mark plumbing.ReferenceName) (tip plumbing.Hash, head string, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	session, err := r.wire.upload(ctx)
	if err != nil {
		return tip, "", explain(ctx, err)
	}
	defer session.Close() // what was asked for has arrived, or failed already
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return tip, "", fmt.Errorf("%w: the repository has no commit yet", sources.ErrGone)
	}
	if err != nil {
		return tip, "", explain(ctx, err)
	}
	head = headOf(adv)
	if tip, err = advertised(adv, ref); err != nil {
		return tip, head, err
	}
	if r.store.marked(mark, tip) {
		return tip, head, nil
	}
	// That the object is there does not mean that all it needs is: only what
	// was marked once arrived as a whole.
	if whole, err := r.store.whole(ctx, tip); err != nil {
		return tip, head, err
	} else if !whole {
		if err := r.download(ctx, session, adv, tip); err != nil {
			return tip, head, explain(ctx, err)
		}
	}
	return tip, head, r.store.mark(mark, tip)
}

// headOf is the branch that the server's HEAD names, or empty.
func headOf(adv *packp.AdvRefs) string {
	for _, ref := range adv.Capabilities.Get(capability.SymRef) {
		if branch, ok := strings.CutPrefix(ref, "HEAD:refs/heads/"); ok {
			return branch
		}
	}
	return ""
}

// advertised finds a ref among those that the server names.
func advertised(adv *packp.AdvRefs, ref plumbing.ReferenceName) (plumbing.Hash, error) {
	if ref == plumbing.HEAD && adv.Head != nil {
		return *adv.Head, nil
	}
	h, ok := adv.References[ref.String()]
	if !ok || h.IsZero() {
		return plumbing.ZeroHash, fmt.Errorf("%w: no such branch or tag", sources.ErrGone)
	}
	return h, nil
}

func (r remote) download(ctx context.Context, session transport.UploadPackSession, adv *packp.AdvRefs, tip plumbing.Hash) (err error) {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	if adv.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	req.Wants = []plumbing.Hash{tip}
	if req.Haves, err = r.store.newest(haves); err != nil {
		return err
	}
	answer, err := session.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer answer.Close()
	return r.store.addPack(&bounded{r: demux(req.Capabilities, answer), left: r.limit})
}

func demux(l *capability.List, r io.Reader) io.Reader {
	switch {
	case l.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case l.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// explain says that it was the deadline where it was, and bounds what a server
// said.
func explain(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return withHint(err, "check the token or key of this source, and what it may read")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return withHint(err, "check the address; some servers say this where access is missing")
	}
	return err
}

// bounded fails, instead of ending, where there is more than allowed.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, sources.ErrTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, sources.ErrTooLarge
	}
	return n, err
}

// mark points a ref of the mirror at h.
func (s *store) mark(name plumbing.ReferenceName, h plumbing.Hash) error {
	return s.with(func() error {
		file := filepath.Join(s.lay.common, filepath.FromSlash(name.String()))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("mark %s: %w", name, err)
		}
		if err := writeAtomic(file, []byte(h.String()+"\n")); err != nil {
			return fmt.Errorf("mark %s: %w", name, err)
		}
		return nil
	})
}

func (s *store) marked(name plumbing.ReferenceName, h plumbing.Hash) bool {
	now, err := s.ref(name)
	return err == nil && now == h
}

// marks are the hashes of the refs that say what arrived as a whole.
func (s *store) marks() (out []plumbing.Hash, err error) {
	err = s.with(func() error {
		out = nil
		refs, err := s.own.IterReferences()
		if err != nil {
			return err
		}
		return refs.ForEach(func(r *plumbing.Reference) error {
			if r.Type() == plumbing.HashReference && strings.HasPrefix(r.Name().String(), "refs/aplomb/") {
				out = append(out, r.Hash())
			}
			return nil
		})
	})
	return out, err
}

// whole says whether tip is part of the history of a mark.
func (s *store) whole(ctx context.Context, tip plumbing.Hash) (found bool, err error) {
	if here, err := s.has(tip); err != nil || !here {
		return false, err
	}
	from, err := s.marks()
	if err != nil {
		return false, err
	}
	for _, h := range from {
		if h, err = s.peel(h); err != nil {
			continue // a damaged mark says nothing
		}
		// A history with a gap is not whole either: what walk says is enough.
		_ = s.walk(ctx, h, func(c *object.Commit) bool { found = c.Hash == tip; return !found })
		if found || ctx.Err() != nil {
			return found, ctx.Err()
		}
	}
	return false, nil
}

// newest are commits that the mirror has, for the server to leave out.
func (s *store) newest(limit int) ([]plumbing.Hash, error) {
	queue, err := s.marks()
	if err != nil {
		return nil, err
	}
	var out []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for len(queue) > 0 && len(out) < limit {
		h, err := s.peel(queue[0])
		queue = queue[1:]
		if err != nil || seen[h] {
			continue
		}
		seen[h] = true
		var c *object.Commit
		if c, err = s.commit(h); err != nil {
			continue // what the mirror lost is fetched again
		}
		out = append(out, h)
		queue = append(queue, c.ParentHashes...)
	}
	return out, nil
}
