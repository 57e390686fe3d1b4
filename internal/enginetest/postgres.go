package enginetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// PostgresServer is a PostgreSQL on loopback.
type PostgresServer struct {
	Host, Port     string
	User, Password string // of the superuser
}

// URL is how clients name it; database is one that exists.
func (p *PostgresServer) URL(database string) string {
	return fmt.Sprintf("postgresql://%s:%s@%s/%s?sslmode=disable", p.User, p.Password, net.JoinHostPort(p.Host, p.Port), database)
}

var postgres engine[PostgresServer]

// Postgres starts the process's PostgreSQL, or answers the one that runs. The
// programs are those of the distribution's package.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	return postgres.get(t, startPostgres)
}

func startPostgres(dir string) (*PostgresServer, error) {
	initdb, err := pgBinary("initdb")
	if err != nil {
		return nil, err
	}
	server, err := pgBinary("postgres")
	if err != nil {
		return nil, err
	}
	ports, err := Ports(1)
	if err != nil {
		return nil, err
	}
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	p := &PostgresServer{Host: "127.0.0.1", Port: strconv.Itoa(ports[0]), User: "admin", Password: "c4n4ry-7Q2x-pg"}
	data, secret := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(p.Password), 0o644); err != nil {
		return nil, err
	}
	first := exec.Command(initdb, "-D", data, "-U", p.User, "--pwfile="+secret, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8")
	first.Dir = dir
	first.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := first.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("enginetest: initdb: %w\n%s", err, out)
	}
	proc, err := start(dir, as, server, "-D", data, "-p", p.Port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	if err != nil {
		return nil, err
	}
	isReady, err := pgBinary("pg_isready")
	if err != nil {
		return nil, err
	}
	return p, proc.ready(func(ctx context.Context) bool {
		return exec.CommandContext(ctx, isReady, "-h", p.Host, "-p", p.Port, "-q").Run() == nil
	})
}

// pgBinary finds a program of PostgreSQL, whose server Debian keeps off PATH.
func pgBinary(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err == nil && len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("enginetest: no %s: install the package postgresql", name)
	}
	return path, nil
}

// unprivileged is who runs PostgreSQL, which refuses root: nil where this
// process is not root's. dir becomes theirs.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("enginetest: PostgreSQL refuses root, and there is no other user")
}
