package git

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/hiddeco/sshsig"

	"github.com/aplomb-dev/aplomb/sources"
)

// Signers are the keys that may sign, of ssh and of OpenPGP: what the operator's
// files list. Immutable, safe for concurrent use.
type Signers struct {
	ssh []signer
	now func() time.Time

	mu  sync.Mutex // guards pgp: its library remembers in a key what it found of it
	pgp []pgpSigner
}

// maxKeys bounds a file of keys, in bytes.
const maxKeys = 1 << 20

// ReadSigners reads files with the keys that may sign. What a file is, it tells
// by its content: lines as ssh-keygen has them (allowed_signers), or armored
// OpenPGP public keys. Whatever is not understood is an error: passing over it
// would allow something else than was meant.
func ReadSigners(files ...string) (*Signers, error) {
	k := &Signers{now: time.Now}
	for _, file := range files {
		text, err := readAtMost(file, maxKeys)
		if err != nil {
			return nil, fmt.Errorf("read the keys that may sign: %w", err)
		}
		hint := "a line is: WHO ssh-ed25519 AAAA…"
		if isPGP(text) {
			hint = "such a file is made by: gpg --armor --export WHO"
			err = k.addPGP(text)
		} else {
			var more []signer
			more, err = parseSigners(text)
			k.ssh = append(k.ssh, more...)
		}
		if err != nil {
			return nil, withHint(fmt.Errorf("read the keys that may sign: %s: %w", file, err), hint)
		}
	}
	return k, nil
}

// VerifyCommit says who of the list has signed a commit, given as it is stored;
// the error is sources.ErrUnsigned with the reason where nobody has.
func (k *Signers) VerifyCommit(raw []byte) (who string, err error) {
	payload, signature := unsign(raw)
	return k.verify(payload, signature)
}

// VerifyTag is VerifyCommit for an annotated tag. What the tag names, and what
// it points at, is for the caller to read of the same bytes.
func (k *Signers) VerifyTag(raw []byte) (who string, err error) {
	payload, signature := unsignTag(raw)
	return k.verify(payload, signature)
}

// signed is signer for a tip, with what to do where nobody has signed it.
func (s *Source) signed(h plumbing.Hash) (who string, err error) {
	who, err = s.signer(h)
	if errors.Is(err, sources.ErrUnsigned) {
		err = withHint(fmt.Errorf("commit %s of %s: %w", h.String()[:7], s.followed(), err),
			"sign it: git commit --amend -S; a merge made on the server is signed by nobody here, or by the server's own key")
	}
	return who, err
}

// signer tells who of those in Config.Signers has signed a commit, and refuses
// one that nobody has; where there is no list nobody is asked for. The files are
// read anew: a key that is taken out is out.
func (s *Source) signer(h plumbing.Hash) (who string, err error) {
	if len(s.cfg.Signers) == 0 {
		return "", nil
	}
	keys, err := ReadSigners(s.cfg.Signers...)
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
	return keys.VerifyCommit(raw)
}

var (
	errNoSignature = errors.New("it has no signature")
	errOtherFormat = errors.New("its signature is neither one of ssh nor one of OpenPGP")
	errOtherKey    = errors.New("its key is not in the list")
	errForged      = errors.New("its signature is not over this content")
)

// How signatures begin and end. What stands behind the end is signed by nobody.
const (
	beginSSH = "-----BEGIN " + sshsig.PEMType + "-----"
	endSSH   = "-----END " + sshsig.PEMType + "-----"
	beginPGP = "-----BEGIN PGP SIGNATURE-----"
	endPGP   = "-----END PGP SIGNATURE-----"
)

// verify says who has signed a payload, or why nobody of the list has.
func (k *Signers) verify(payload, armored []byte) (who string, err error) {
	armored = bytes.TrimRight(armored, "\r\n\t ")
	is := func(begin, end string) bool {
		return bytes.HasPrefix(armored, []byte(begin)) && bytes.HasSuffix(armored, []byte(end)) && bytes.Count(armored, []byte("-----BEGIN ")) == 1
	}
	switch {
	case len(armored) == 0:
		err = errNoSignature
	case is(beginSSH, endSSH):
		who, err = verifySSH(payload, armored, k.ssh)
	case is(beginPGP, endPGP):
		who, err = k.verifyPGP(payload, armored)
	default:
		err = errOtherFormat
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", sources.ErrUnsigned, err)
	}
	return who, nil
}

// unsign takes a commit apart: what was signed, which is all but the headers
// of signatures, and the signature; nil where there is none. Of several none is
// taken: it would be open which one counts. Nor is one that stands before what
// makes the commit, where Git never puts one: readers stop there, and the commit
// would have other parents than its signer gave it.
func unsign(raw []byte) (payload, signature []byte) {
	const header = "gpgsig"
	found, within := 0, false // a signature, or one of another hash
	var own, seen, early bool
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
			within, seen, own = true, true, string(name) == header
			if own {
				found++
				signature = append(signature, value...)
			}
			continue
		}
		within = false
		early = early || seen && slices.Contains([]string{"tree", "parent", "author", "committer"}, string(name))
		payload = append(payload, line...)
	}
	if found > 1 || early {
		return payload, nil
	}
	return payload, signature
}

// unsignTag takes an annotated tag apart: its signature stands at its end. Of
// several none is taken, as of a commit; nor is any of a tag that has one among
// its headers, too.
func unsignTag(raw []byte) (payload, signature []byte) {
	at, found, headers := len(raw), 0, true
	for i := 0; i < len(raw); {
		line := raw[i:]
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line = line[:end+1]
		}
		text := bytes.TrimRight(line, "\n")
		headers = headers && len(text) > 0
		switch {
		case headers && bytes.HasPrefix(text, []byte("gpgsig")):
			return raw, nil
		case !headers && (bytes.HasPrefix(text, []byte(beginSSH)) || bytes.HasPrefix(text, []byte(beginPGP))):
			at, found = i, found+1
		}
		i += len(line)
	}
	if found != 1 {
		return raw, nil
	}
	return raw[:at], raw[at:]
}
