package git

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/aplomb-dev/aplomb/sources"
)

// namespace is what git signs commits in, so that a signature over something
// else is none over a commit.
const namespace = "git"

// signer is one line of a list: a key, and whose it is.
type signer struct {
	who string
	key ssh.PublicKey
}

// signed tells who of those in Config.Signers has signed a commit, and refuses
// one that nobody has; where there is no list nobody is asked for. The files are
// read anew: a key that is taken out is out.
func (s *Source) signed(h plumbing.Hash) (who string, err error) {
	if len(s.cfg.Signers) == 0 {
		return "", nil
	}
	all, err := readSigners(s.cfg.Signers)
	if err != nil {
		return "", err
	}
	raw, err := s.store.read(plumbing.CommitObject, h, maxCommit)
	if err != nil {
		return "", err
	}
	if plumbing.ComputeHash(plumbing.CommitObject, raw) != h {
		return "", fmt.Errorf("commit %s: %w", h, errDamaged)
	}
	who, err = verify(raw, all)
	if err != nil {
		return "", withHint(fmt.Errorf("commit %s of %s: %w: %w", h.String()[:7], s.followed(), sources.ErrUnsigned, err),
			"sign it with ssh: git commit --amend -S, with gpg.format ssh; a merge made on the server is signed by nobody here")
	}
	return who, nil
}

// readSigners reads lists of keys.
func readSigners(files []string) (all []signer, err error) {
	for _, file := range files {
		text, err := readSmall(file)
		if err != nil {
			return nil, fmt.Errorf("read the keys that may sign: %w", err)
		}
		more, err := parseSigners(text)
		if err != nil {
			return nil, withHint(fmt.Errorf("read the keys that may sign: %s: %w", file, err), "a line is: WHO ssh-ed25519 AAAA…")
		}
		all = append(all, more...)
	}
	return all, nil
}

var (
	errNoSignature = errors.New("it has no signature")
	errOtherFormat = errors.New("its signature is not one of ssh")
	errOtherKey    = errors.New("its key is not in the list")
	errForged      = errors.New("its signature is not over this commit")
)

// verify says who has signed a commit, as it is stored, or why nobody of all has.
func verify(raw []byte, all []signer) (who string, err error) {
	payload, armored := unsign(raw)
	return verified(payload, armored, all)
}

// verified says who has signed a payload, or why nobody of all has.
func verified(payload, armored []byte, all []signer) (who string, err error) {
	switch {
	case len(armored) == 0:
		return "", errNoSignature
	case !bytes.HasPrefix(armored, []byte("-----BEGIN "+sshsig.PEMType+"-----")):
		return "", errOtherFormat
	}
	sig, err := sshsig.Unarmor(armored)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errOtherFormat, err)
	}
	for _, s := range all {
		if !bytes.Equal(s.key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(payload), sig, s.key, sig.HashAlgorithm, namespace); err != nil {
			return "", fmt.Errorf("%w: %w", errForged, err)
		}
		return s.who, nil
	}
	return "", fmt.Errorf("%w: %s", errOtherKey, ssh.FingerprintSHA256(sig.PublicKey))
}

// unsign takes a commit apart: what was signed, which is all but the headers
// of signatures, and the signature; nil where there is none. Of several none is
// taken: it would be open which one counts.
func unsign(raw []byte) (payload, signature []byte) {
	const header = "gpgsig"
	found, within := 0, false // a signature, or one of another hash
	var own bool
	for rest := raw; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line = rest[:end+1]
		}
		if line[0] == '\n' { // the message begins
			payload = append(payload, rest...)
			break
		}
		rest = rest[len(line):]
		name, value, _ := bytes.Cut(line, []byte(" "))
		switch {
		case line[0] == ' ' && within:
			if own {
				signature = append(signature, line[1:]...)
			}
			continue
		case string(name) == header || string(name) == header+"-sha256":
			within, own = true, string(name) == header
			if own {
				found++
				signature = append(signature, value...)
			}
			continue
		}
		within = false
		payload = append(payload, line...)
	}
	if found > 1 {
		return payload, nil
	}
	return payload, signature
}

// maxSigners bounds a list of keys.
const maxSigners = 1000

// parseSigners reads a list of keys as ssh-keygen has it (ALLOWED SIGNERS in its
// manual). What it could say and is not understood here, such as authorities
// and times, is refused: passing over it would allow more than was meant.
func parseSigners(text string) ([]signer, error) {
	var keys []signer
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if len(keys) == maxSigners {
			return nil, fmt.Errorf("more than %d keys", maxSigners)
		}
		who, key, err := parseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if key != nil {
			keys = append(keys, signer{printable(who, maxTitle), key})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key for commits")
	}
	return keys, nil
}

// parseSigner reads one line; no key is one for something else than commits.
func parseSigner(line string) (who string, key ssh.PublicKey, err error) {
	who, rest, ok := strings.Cut(line, " ")
	if strings.HasPrefix(line, `"`) {
		who, rest, ok = strings.Cut(line[1:], `" `)
	}
	if !ok || who == "" {
		return "", nil, errors.New("it is not WHO and a key")
	}
	key, _, options, more, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil || len(more) > 0 {
		return "", nil, errors.New("it is not WHO and a key")
	}
	for _, o := range options {
		list, is := strings.CutPrefix(o, "namespaces=")
		if !is {
			return "", nil, fmt.Errorf("the option %q is not understood", printable(o, 64))
		}
		if !slices.Contains(strings.Split(strings.Trim(list, `"`), ","), namespace) {
			return "", nil, nil
		}
	}
	return who, key, nil
}
