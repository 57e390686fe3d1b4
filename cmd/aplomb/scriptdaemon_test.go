package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aplomb-dev/aplomb/internal/api"
)

// cmdFreePort is: freeport VAR. It sets VAR to a port that nobody listens on.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VAR")
	}
	port, err := unused()
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// unused is a port that nobody listens on.
func unused() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), l.Close()
}

// cmdExpand is: expand FILE TO. It writes FILE to TO, with $NAME and ${NAME}
// replaced by what the script has set.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: expand FILE TO")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	whole := ts.MkAbs(args[1])
	ts.Check(os.WriteFile(whole+".new", []byte(text), 0o600))
	ts.Check(os.Rename(whole+".new", whole)) // as editors do
}

// cmdCertificate is: certificate CERT KEY. It makes a certificate for
// 127.0.0.1 that vouches for itself.
func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERT KEY")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	ts.Check(err)
	tmpl := &x509.Certificate{SerialNumber: serial, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: private}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}

// cmdGet is: get STATUS URL [TOKENFILE]. It asks until the answer has that
// status, and writes its body; the script's cert.pem is trusted.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: get STATUS URL [TOKENFILE]")
	}
	roots := x509.NewCertPool()
	if cert, err := os.ReadFile(ts.MkAbs("cert.pem")); err == nil {
		roots.AppendCertsFromPEM(cert)
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	var body []byte
	ts.Check(poll(patience, func() error {
		req, err := http.NewRequest(http.MethodGet, args[1], nil)
		if err != nil {
			return err
		}
		if len(args) == 3 {
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[2])))
		}
		res, err := t.RoundTrip(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if body, err = io.ReadAll(res.Body); err == nil && strconv.Itoa(res.StatusCode) != args[0] {
			err = fmt.Errorf("%s answers %s: %s", args[1], res.Status, body)
		}
		return err
	}))
	_, err := ts.Stdout().Write(body)
	ts.Check(err)
}

// cmdHup is: hup. It has the script's daemon read its configuration again, and
// waits until it has: it is in force then, or newly refused.
func cmdHup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hup")
	}
	path, err := api.SocketPath(filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "aplomb"), ts.Getenv("APLOMB_DATA"))
	ts.Check(err)
	d, info, err := api.Dial(context.Background(), api.Address{Socket: path})
	ts.Check(err)
	d.Close()
	if info.Configuration == nil {
		ts.Fatalf("hup: the daemon has no configuration yet")
	}
	was := *info.Configuration
	ts.Check(syscall.Kill(info.PID, syscall.SIGHUP))
	ts.Check(poll(patience, func() error {
		again, info, err := api.Dial(context.Background(), api.Address{Socket: path})
		if err != nil {
			return err
		}
		again.Close()
		if now := info.Configuration; now.At.Equal(was.At) && now.Since.Equal(was.Since) {
			return fmt.Errorf("the configuration was not read again: %+v", *now)
		}
		return nil
	}))
}
