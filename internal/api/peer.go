package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrPeer is a caller who is neither the user that the daemon runs as nor root.
var ErrPeer = errors.New("this environment is another user's")

// peer is who is at the other end of a connection, as the kernel says.
type peer struct {
	uid uint32
	err error // why it is not known
}

type peerKey struct{}

// withPeer keeps with a connection who is at its other end. Of a connection
// that is no unix socket nothing is kept.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peerOf(u))
}

func peerOf(c *net.UnixConn) peer {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{err: err}
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(cerr, err); err != nil {
		return peer{err: err}
	}
	return peer{uid: cred.Uid}
}

// admit lets through whom the kernel names as this user or root. The modes of
// the folder and the socket keep others out already; this holds where they were
// widened.
func (p peer) admit(self int) error {
	switch {
	case p.err != nil:
		return fmt.Errorf("%w: who asks is not known: %w", ErrPeer, p.err)
	case p.uid != 0 && int(p.uid) != self:
		return fmt.Errorf("%w: uid %d asks, uid %d runs it", ErrPeer, p.uid, self)
	}
	return nil
}

// name is the operating system's name for the user.
func (p peer) name() string {
	uid := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(uid); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + uid
}
