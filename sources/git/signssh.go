package git

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// namespace is what git signs commits and tags in, so that a signature over
// something else is none over them.
const namespace = "git"

// signer is one line of a list: a key, and whose it is.
type signer struct {
	who string
	key ssh.PublicKey
}

// verifySSH says who has made a signature of ssh.
func verifySSH(payload, armored []byte, all []signer) (who string, err error) {
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
