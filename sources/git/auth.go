package git

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/aplomb-dev/aplomb/schema"
)

// Auth says who a source is to a server. Files are read when they are used, so
// that they can be replaced while the daemon runs. The zero value is nobody.
type Auth struct {
	// Over https: a token, sent with Username (empty: the user of the
	// address, else "git"), and whom to trust beside the system's authorities.
	TokenFile string
	Username  string
	CAFile    string

	// Over ssh: a key, or the agent at SSH_AUTH_SOCK, and the hosts that are
	// known. KnownHostsFile empty: the user's and the system's own.
	KeyFile           string
	KeyPassphraseFile string
	Agent             bool
	KnownHostsFile    string
}

func (a Auth) check(at location) error {
	https := a.TokenFile != "" || a.CAFile != ""
	shell := a.KeyFile != "" || a.KeyPassphraseFile != "" || a.Agent || a.KnownHostsFile != ""
	switch at.kind {
	case local:
		if https || shell || a.Username != "" {
			return errors.New("credentials make no sense for a local repository")
		}
	case overHTTP:
		if shell {
			return errors.New("a key, an agent or known hosts belong to ssh")
		}
		if at.scheme == "http" && (https || a.Username != "" || at.user != "") {
			return withHint(errors.New("credentials are not sent over plain http"), "use https")
		}
	case overSSH:
		if https || a.Username != "" {
			return errors.New("a token, a user name or an authority belong to https; the user of ssh stands in the address")
		}
		if a.KeyFile != "" && a.Agent || a.KeyFile == "" && !a.Agent {
			return withHint(errors.New("ssh takes either a key file or the agent"), "set keyFile, or agent: true")
		}
		if a.KeyPassphraseFile != "" && a.KeyFile == "" {
			return errors.New("a passphrase without a key file")
		}
	}
	return nil
}

// token reads the token, which is empty where none is configured.
func (a Auth) token() (schema.Secret, error) {
	if a.TokenFile == "" {
		return schema.Secret{}, nil
	}
	text, err := readSmall(a.TokenFile)
	if err != nil {
		return schema.Secret{}, fmt.Errorf("read the token: %w", err)
	}
	if text == "" || hasControl(text) {
		return schema.Secret{}, fmt.Errorf("read the token: %s does not hold one line", a.TokenFile)
	}
	return schema.NewSecret(text), nil
}

// methods are the ways to prove who we are over ssh, and what to close when
// the handshake is over. An agent that does not answer is let go with ctx.
func (a Auth) methods(ctx context.Context) ([]ssh.AuthMethod, func(), error) {
	if a.Agent {
		return agentMethods(ctx)
	}
	pem, err := readSmall(a.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read the key: %w", err)
	}
	var signer ssh.Signer
	if a.KeyPassphraseFile == "" {
		signer, err = ssh.ParsePrivateKey([]byte(pem + "\n"))
	} else {
		var pass string
		if pass, err = readSmall(a.KeyPassphraseFile); err != nil {
			return nil, nil, fmt.Errorf("read the passphrase: %w", err)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(pem+"\n"), []byte(pass))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the key %s: %w", a.KeyFile, err)
	}
	return []ssh.AuthMethod{ssh.PublicKeys(signer)}, func() {}, nil
}

func agentMethods(ctx context.Context) ([]ssh.AuthMethod, func(), error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, withHint(errors.New("no ssh agent"), "set SSH_AUTH_SOCK, or use a key file")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("reach the ssh agent: %w", err)
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
	done := func() {
		unhook()
		_ = conn.Close() // only asked
	}
	return []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}, done, nil
}

// hostKeys is the check of a server's key, and the kinds of keys that are
// known of it: a server shows only one kind, so it must be asked for those.
func (a Auth) hostKeys(address string) (ssh.HostKeyCallback, []string, error) {
	files := []string{a.KnownHostsFile}
	if a.KnownHostsFile == "" {
		files = defaultKnownHosts()
	}
	const hint = "add the server's key, as from `ssh-keyscan`, once you have made sure that it is the server's"
	if len(files) == 0 {
		return nil, nil, withHint(errors.New("there is no file of known hosts"), hint)
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("read the known hosts: %w", err)
	}
	var known *knownhosts.KeyError
	if err := check(address, placeholder{}, noKey{}); !errors.As(err, &known) || len(known.Want) == 0 {
		return nil, nil, withHint(fmt.Errorf("the host %s is not among the known hosts", address), hint)
	}
	return check, algorithms(known.Want), nil
}

func algorithms(keys []knownhosts.KnownKey) []string {
	var out []string
	for _, k := range keys {
		if t := k.Key.Type(); t == ssh.KeyAlgoRSA {
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			out = append(out, t)
		}
	}
	return out
}

func defaultKnownHosts() []string {
	candidates := []string{"/etc/ssh/ssh_known_hosts"}
	if home, err := os.UserHomeDir(); err == nil {
		candidates = append(candidates, filepath.Join(home, ".ssh", "known_hosts"))
	}
	var out []string
	for _, name := range candidates {
		if _, err := os.Stat(name); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// placeholder and noKey are asked about to learn which keys are known.
type placeholder struct{}

func (placeholder) Network() string { return "tcp" }
func (placeholder) String() string  { return "0.0.0.0:0" }

type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
