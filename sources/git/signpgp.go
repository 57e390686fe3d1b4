package git

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// pgpSigner is a key of OpenPGP, with its subkeys.
type pgpSigner struct {
	key         *openpgp.Entity
	fingerprint string
}

const (
	beginKey = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	endKey   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// clockSkew is how far the clock of whoever signs may be ahead of this one.
const clockSkew = 5 * time.Minute

var (
	errSecretKey = errors.New("it holds a private key: public ones belong there")
	errTwice     = errors.New("a key stands twice: of two copies one may lack what revokes it")
	errKeyText   = errors.New("there is something else than armored keys and comments in it")
	errOld       = errors.New("its signature is not of a time at which its key may sign")
)

// isPGP says whether a file of keys is one of OpenPGP.
func isPGP(text string) bool {
	return strings.Contains(text, "-----BEGIN PGP ")
}

// pgpConfig is what is accepted at a time: no MD5, RIPEMD-160 or SHA-1, neither
// in a signature nor in what binds a key; no DSA, ElGamal, short RSA or
// secp256k1, which the library refuses by itself.
func pgpConfig(at time.Time) *packet.Config {
	weak := map[crypto.Hash]bool{crypto.MD5: true, crypto.RIPEMD160: true, crypto.SHA1: true}
	return &packet.Config{Time: func() time.Time { return at }, RejectHashAlgorithms: weak, RejectMessageHashAlgorithms: weak}
}

// addPGP adds the keys of a file of armored blocks, and of lines that begin
// with #.
func (k *Signers) addPGP(text string) error {
	for {
		before, rest, found := strings.Cut(text, beginKey)
		for line := range strings.Lines(before) {
			line = strings.TrimSpace(line)
			if strings.Contains(line, "BEGIN PGP PRIVATE KEY") {
				return errSecretKey
			}
			if line != "" && line[0] != '#' {
				return errKeyText
			}
		}
		if !found {
			return nil
		}
		block, after, ended := strings.Cut(rest, endKey)
		if !ended {
			return errors.New("an armored key has no end")
		}
		if err := k.addBlock(beginKey + block + endKey + "\n"); err != nil {
			return err
		}
		text = after
	}
}

// addBlock adds the keys of one armored block.
func (k *Signers) addBlock(text string) error {
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("an armored key: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(block.Body, maxKeys))
	if err != nil {
		return fmt.Errorf("an armored key: %w", err)
	}
	rest := bytes.NewReader(raw)
	packets := packet.NewReader(rest)
	for first := true; ; first = false {
		e, err := openpgp.ReadEntity(packets)
		switch {
		case errors.Is(err, io.EOF) && !first:
			return nil
		case err != nil:
			return fmt.Errorf("an armored key: %w", err)
		case e.PrivateKey != nil:
			return errSecretKey
		case len(k.pgp) == maxSigners:
			return fmt.Errorf("more than %d keys", maxSigners)
		}
		s := pgpSigner{e, strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))}
		for _, other := range k.pgp {
			if other.fingerprint == s.fingerprint {
				return fmt.Errorf("%w: %s", errTwice, s.fingerprint)
			}
		}
		k.pgp = append(k.pgp, s)
	}
}

// verifyPGP says who has made a signature of OpenPGP: the primary identity of
// its key. The key must be good, that is neither expired nor revoked, both when
// the signature says that it was made, and now: whoever finds an expired key
// could make it say anything. It is good for ever only where it says so itself.
func (k *Signers) verifyPGP(payload, armored []byte) (who string, err error) {
	sig, body, err := oneSignature(armored)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errOtherFormat, err)
	}
	now := k.now()
	if sig.CreationTime.After(now.Add(clockSkew)) {
		return "", fmt.Errorf("%w: it is of %s", errOld, sig.CreationTime.UTC().Format(time.RFC3339))
	}
	err = errOtherKey
	if sig.IssuerKeyId != nil {
		err = fmt.Errorf("%w: %016X", errOtherKey, *sig.IssuerKeyId)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.pgp {
		if sig.IssuerKeyId == nil || len(openpgp.EntityList{s.key}.EntitiesById(*sig.IssuerKeyId)) == 0 {
			continue
		}
		if who, err = s.verify(sig, payload, body, now); err == nil {
			return who, nil
		}
	}
	return "", err
}

// verify says whether a signature is one of s.
func (s pgpSigner) verify(sig *packet.Signature, payload, body []byte, now time.Time) (who string, err error) {
	if sig.CreationTime.After(now) { // within the skew
		now = sig.CreationTime
	}
	cfg := pgpConfig(now)
	if _, _, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{s.key}, bytes.NewReader(payload), bytes.NewReader(body), cfg); err != nil {
		return "", fmt.Errorf("%w, or its key %s may not have made it then: %w", errForged, s.fingerprint, err)
	}
	_, err = s.key.VerifyPrimaryKey(now, cfg)
	if _, may := s.key.SigningKeyById(now, *sig.IssuerKeyId, cfg); err != nil || !may {
		return "", fmt.Errorf("%w: key %s is expired or revoked by now", errOld, s.fingerprint)
	}
	return s.who(now), nil
}

// who is whose key it is, by its primary identity at a time.
func (s pgpSigner) who(now time.Time) string {
	_, identity := s.key.PrimaryIdentity(now, pgpConfig(now))
	if identity == nil {
		return s.fingerprint
	}
	return printable(identity.Name, maxTitle)
}

// oneSignature takes the armor off a signature, and refuses more than one
// packet, and any kind but that over bytes as they are.
func oneSignature(armored []byte) (sig *packet.Signature, body []byte, err error) {
	block, err := armor.Decode(bytes.NewReader(append(bytes.Clone(armored), '\n')))
	if err != nil {
		return nil, nil, err
	}
	if body, err = io.ReadAll(io.LimitReader(block.Body, maxSmall)); err != nil {
		return nil, nil, err
	}
	packets := packet.NewReader(bytes.NewReader(body))
	p, err := packets.Next()
	if err != nil {
		return nil, nil, err
	}
	sig, is := p.(*packet.Signature)
	if !is || sig.SigType != packet.SigTypeBinary {
		return nil, nil, errors.New("it is no signature over bytes")
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("there is more in it than one")
	}
	return sig, body, nil
}
