package gittest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSH serves the bare repositories in Root over ssh.
type SSH struct {
	Addr       string // host:port
	Root       string
	KeyFile    string // a key that the server lets in
	KnownHosts string // a file that names the server's key

	config *ssh.ServerConfig
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// ServeSSH starts a server. It stops at the end of the test.
func ServeSSH(t testing.TB, root string) *SSH {
	t.Helper()
	host, user := newKey(t), newKey(t)
	s := &SSH{Root: root, conns: map[net.Conn]bool{}}
	dir := t.TempDir()
	s.KeyFile = WriteKey(t, filepath.Join(dir, "id"), user)
	allowed := signer(t, user).PublicKey().Marshal()
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	s.config.AddHostKey(signer(t, host))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	s.KnownHosts = WriteKnownHosts(t, filepath.Join(dir, "known_hosts"), s.Addr, host)
	s.wg.Go(func() { s.accept(l) })
	t.Cleanup(func() {
		_ = l.Close()
		s.stop()
		s.wg.Wait()
	})
	return s
}

// URL is the address of a repository.
func (s *SSH) URL(name string) string { return "ssh://git@" + s.Addr + "/" + name }

func (s *SSH) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			_ = conn.Close()
		}
		s.conns[conn] = true
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(conn) })
	}
}

func (s *SSH) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *SSH) serve(conn net.Conn) {
	defer conn.Close()
	_, chans, reqs, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for c := range chans {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		ch, reqs, err := c.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.session(ch, reqs) })
	}
}

func (s *SSH) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for req := range reqs {
		if req.Type != "exec" {
			_ = req.Reply(false, nil)
			continue
		}
		var body struct{ Command string }
		if ssh.Unmarshal(req.Payload, &body) != nil {
			return
		}
		_ = req.Reply(true, nil)
		status := struct{ Code uint32 }{s.run(ch, body.Command)}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(&status))
		return
	}
}

// run starts the one program asked for, by argv.
func (s *SSH) run(ch ssh.Channel, command string) uint32 {
	service, arg, ok := strings.Cut(command, " ")
	if !ok || service != "git-upload-pack" && service != "git-receive-pack" {
		return 127
	}
	name := strings.TrimPrefix(strings.NewReplacer(`'\''`, `'`, `'`, ``).Replace(arg), "/")
	if !filepath.IsLocal(name) {
		return 128
	}
	cmd := exec.Command("git", strings.TrimPrefix(service, "git-"), filepath.Join(s.Root, name))
	cmd.Env = environ()
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 126
	}
	go func() {
		_, _ = io.Copy(in, ch)
		_ = in.Close()
	}()
	if cmd.Wait() != nil {
		return 1
	}
	return 0
}

// newKey makes an ed25519 key.
func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// OtherKey makes a key that no server knows.
func OtherKey(t testing.TB) ed25519.PrivateKey { return newKey(t) }

func signer(t testing.TB, key ed25519.PrivateKey) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// WriteKey writes a private key as ssh reads it and gives the file's name.
func WriteKey(t testing.TB, file string, key ed25519.PrivateKey) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// WriteKnownHosts writes a file that knows addr by key and gives its name.
func WriteKnownHosts(t testing.TB, file, addr string, key ed25519.PrivateKey) string {
	t.Helper()
	line := knownhosts.Line([]string{knownhosts.Normalize(addr)}, signer(t, key).PublicKey()) + "\n"
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
