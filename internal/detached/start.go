package detached

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

// ShimCommand is the hidden first argument of the binary that means ShimMain.
const ShimCommand = "detached-shim"

// startTimeout bounds how long a shim may take to say that it has started.
const startTimeout = 15 * time.Second

// Shim says which program to start as the shim. The zero value is this very
// binary, even where its file was replaced since.
type Shim struct {
	Path string // a binary that hands the arguments after ShimCommand to ShimMain; "" is this one
}

// handover is what goes through the pipe to the shim, and nowhere else.
type handover struct {
	Secrets map[string][]byte `json:"secrets"` // bytes: a value need not be UTF-8
}

// Start runs spec in the folder dir, whose parent exists. It answers once the
// command was started, or failed to: that is told by Status, not by the error.
// An error means that it is not known to have started; whether it has is to be
// seen by Open, since ctx may end in the middle.
//
// A folder that a dead starter left Prepared is used again; of any other that
// holds a run the answer is ErrBusy or ErrBegun. Two at once start one.
func (s Shim) Start(ctx context.Context, dir string, spec Spec) (*Run, error) {
	if err := spec.Check(); err != nil {
		return nil, fmt.Errorf("start run: %w", err)
	}
	if !filepath.IsAbs(dir) || dir != filepath.Clean(dir) {
		return nil, fmt.Errorf("start run: its folder %q is not absolute and clean", dir)
	}
	lock, err := prepare(dir, spec)
	if err != nil {
		return nil, fmt.Errorf("start run in %s: %w", dir, err)
	}
	defer func() { _ = lock.Close() }()
	if err := s.fork(ctx, dir, spec, lock); err != nil {
		return nil, fmt.Errorf("start run in %s: %w", dir, err)
	}
	return Open(dir)
}

// prepare makes the folder with its spec durable and takes its lock.
func prepare(dir string, spec Spec) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	lock, err := acquire(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	if err := fill(dir, spec); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

func fill(dir string, spec Spec) error {
	for _, name := range []string{recordFile, exitFile, stopFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(ErrBegun, err)
		}
	}
	if err := writeJSON(filepath.Join(dir, specFile), spec); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// fork starts the shim, hands it the lock and the secrets, and waits for its
// word.
func (s Shim) fork(ctx context.Context, dir string, spec Spec, lock *os.File) error {
	give, giver, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = giver.Close() }()
	word, teller, err := os.Pipe()
	if err != nil {
		_ = give.Close()
		return err
	}
	defer func() { _ = word.Close() }()
	log, err := os.OpenFile(filepath.Join(dir, shimFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		err = s.spawn(dir, give, log, lock, teller)
		_ = log.Close()
	}
	_ = give.Close()
	_ = teller.Close()
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	return converse(ctx, giver, word, spec.Secrets)
}

// spawn starts the shim in a session of its own, with an environment that
// holds nothing of the starter's.
func (s Shim) spawn(dir string, stdin, stderr, lock, teller *os.File) error {
	path := s.Path
	if path == "" {
		path = "/proc/self/exe"
	}
	cmd := exec.Command(path, ShimCommand, dir)
	cmd.Args[0] = "aplomb"
	cmd.Dir = "/"
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=single"}
	cmd.Stdin, cmd.Stderr = stdin, stderr
	cmd.ExtraFiles = []*os.File{lock, teller} // descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // so that it does not stay a zombie; how it ends is in its folder
	return nil
}

// converse gives the secrets and reads the shim's one word: nothing, or what
// went wrong before it could set out.
func converse(ctx context.Context, giver, word *os.File, secrets map[string]schema.Secret) error {
	deadline := time.Now().Add(startTimeout)
	_ = giver.SetDeadline(deadline)
	_ = word.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() {
		_ = giver.SetDeadline(time.Unix(1, 0))
		_ = word.SetDeadline(time.Unix(1, 0))
	})
	defer stop()
	h := handover{Secrets: map[string][]byte{}}
	for k, v := range secrets {
		h.Secrets[k] = []byte(v.Reveal())
	}
	if err := json.NewEncoder(giver).Encode(h); err != nil && ctx.Err() == nil {
		return fmt.Errorf("hand over to shim: %w", err)
	}
	_ = giver.Close()
	said, err := io.ReadAll(io.LimitReader(word, 4<<10))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("hear from shim: %w", err)
	case len(said) == 0:
		return errors.New("the shim ended without a word")
	case string(said) != wordStarted:
		return fmt.Errorf("shim: %s", said)
	}
	return nil
}

// wordStarted is what the shim says when there is a Status to look at.
const wordStarted = "started\n"
