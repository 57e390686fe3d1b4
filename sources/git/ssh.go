package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshWire speaks to one server over ssh. It reads no ssh configuration, starts
// no program, and knows no host that the files of known hosts do not name.
type sshWire struct {
	at    location
	auth  Auth
	limit int64
}

func (w *sshWire) upload(ctx context.Context) (transport.UploadPackSession, error) {
	return w.start(ctx, transport.UploadPackServiceName)
}

func (w *sshWire) receive(ctx context.Context) (transport.ReceivePackSession, error) {
	return w.start(ctx, transport.ReceivePackServiceName)
}

func (w *sshWire) start(ctx context.Context, service string) (_ *sshSession, err error) {
	client, stop, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &sshSession{ctx: ctx, receive: service == transport.ReceivePackServiceName}
	s.hangUp = sync.OnceFunc(func() {
		stop()
		_ = client.Close() // the conversation is over either way
	})
	defer func() {
		if err != nil {
			s.hangUp()
		}
	}()
	shell, err := client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("open an ssh session: %w", err)
	}
	if s.in, err = shell.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := shell.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = &bounded{r: out, left: w.limit + w.limit/8 + 16<<20}
	shell.Stderr = &s.said
	if err := shell.Start(service + " " + quote(w.at.path)); err != nil {
		return nil, fmt.Errorf("start %s: %w", service, err)
	}
	s.wait = shell.Wait
	return s, nil
}

// dial connects and shakes hands. The connection ends with ctx.
func (w *sshWire) dial(ctx context.Context) (*ssh.Client, func(), error) {
	port := 22
	if w.at.port != 0 {
		port = w.at.port
	}
	address := net.JoinHostPort(w.at.host, strconv.Itoa(port))
	check, kinds, err := w.auth.hostKeys(address)
	if err != nil {
		return nil, nil, err
	}
	methods, done, err := w.auth.methods(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, chans, reqs, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: w.at.user, Auth: methods, HostKeyCallback: check, HostKeyAlgorithms: kinds,
	})
	if err != nil {
		unhook()
		_ = conn.Close()
		return nil, nil, handshake(address, err)
	}
	return ssh.NewClient(c, chans, reqs), func() { unhook() }, nil
}

func handshake(address string, err error) error {
	var key *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &key), errors.As(err, &revoked), strings.Contains(err.Error(), "no common algorithm for host key"):
		return withHint(fmt.Errorf("the host %s does not show the key that is known of it: %w", address, err),
			"somebody may stand between; if the server's key was changed, put the new one into the known hosts")
	case strings.Contains(err.Error(), "unable to authenticate"):
		return withHint(fmt.Errorf("%w: %w", transport.ErrAuthenticationRequired, err), "check the key of this source, and what it may read")
	}
	return fmt.Errorf("ssh to %s: %w", address, err)
}

// quote makes one argument of p for the server's shell, as Git does.
func quote(p string) string {
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(p) + "'"
}

// sshSession is one conversation with git-upload-pack or git-receive-pack.
type sshSession struct {
	ctx     context.Context
	in      io.WriteCloser
	out     io.Reader
	said    complaint
	wait    func() error
	hangUp  func()
	receive bool
	adv     *packp.AdvRefs
	asked   bool
}

var (
	_ transport.UploadPackSession  = (*sshSession)(nil)
	_ transport.ReceivePackSession = (*sshSession)(nil)
)

func (s *sshSession) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(s.ctx)
}

func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	if s.adv != nil {
		return s.adv, nil
	}
	adv := packp.NewAdvRefs()
	switch err := adv.Decode(s.out); {
	case errors.Is(err, packp.ErrEmptyAdvRefs):
	case errors.Is(err, packp.ErrEmptyInput):
		_ = s.wait() // for what the server had to say
		return nil, fmt.Errorf("%w: %s", transport.ErrRepositoryNotFound, s.said.String())
	case err != nil:
		return nil, s.blame(err)
	}
	if adv.IsEmpty() && !s.receive {
		return nil, transport.ErrEmptyRemoteRepository
	}
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	s.adv = adv
	return adv, nil
}

func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	s.asked = true
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return nil, s.blame(err)
	}
	if err := req.UploadHaves.Encode(s.in, false); err != nil {
		return nil, s.blame(err)
	}
	if _, err := io.WriteString(s.in, "0009done\n"); err != nil {
		return nil, s.blame(err)
	}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(io.NopCloser(s.out)); err != nil {
		return nil, s.blame(err)
	}
	return res, nil
}

func (s *sshSession) ReceivePack(_ context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	s.asked = true
	if err := req.Encode(s.in); err != nil {
		return nil, s.blame(err)
	}
	if err := s.in.Close(); err != nil {
		return nil, s.blame(err)
	}
	report := packp.NewReportStatus()
	if err := report.Decode(demux(req.Capabilities, s.out)); err != nil {
		return nil, s.blame(err)
	}
	return report, report.Error()
}

// Close says goodbye where nothing was asked for, and hangs up.
func (s *sshSession) Close() error {
	if !s.asked {
		_, _ = io.WriteString(s.in, "0000") // the server may be gone already
	}
	s.hangUp()
	return nil
}

// blame adds what the server said to an error.
func (s *sshSession) blame(err error) error {
	if said := s.said.String(); said != "" {
		return fmt.Errorf("%w; the server said: %s", err, said)
	}
	return err
}

// complaint keeps the beginning of what a server writes to its standard error.
type complaint struct {
	mu   sync.Mutex
	text []byte
}

func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p[:min(len(p), maxComplaint-len(c.text))]...)
	return len(p), nil
}

func (c *complaint) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return printable(strings.Join(strings.Fields(string(c.text)), " "), maxComplaint)
}
