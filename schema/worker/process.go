package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// startDeadline bounds how long a worker may take until it says hello.
const startDeadline = 30 * time.Second

// memoryTick is how often a busy worker's memory is looked at.
const memoryTick = 20 * time.Millisecond

// Why a worker was ended.
var (
	errDeadline = errors.New("takes too long")
	errMemory   = errors.New("needs too much memory")
	errDied     = errors.New("ended the process that does it")
)

// process is one worker process, used by one goroutine at a time.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	frames  chan []byte   // what it says; closed once it has ended and was waited for
	gone    chan struct{} // closed by kill
	limits  Limits
	fresh   bool           // it has handled nothing yet
	setups  map[string]Sum // what was sent last for each service
	peakRSS int64
}

// startProcess starts a process and waits until it says hello. An error is
// about the process, never about an item.
func startProcess(ctx context.Context, cmd *exec.Cmd, limits Limits) (*process, error) {
	cmd.Env = append(cmd.Env, "GOMEMLIMIT="+strconv.FormatInt(limits.Memory/3*2, 10))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	w := &process{cmd: cmd, in: in, frames: make(chan []byte), gone: make(chan struct{}), limits: limits, fresh: true, setups: map[string]Sum{}}
	go w.listen(out)
	frame, err := w.next(ctx, startDeadline)
	var h hello
	if err == nil {
		err = json.Unmarshal(frame, &h)
	}
	if err == nil && h.Program != Program() {
		err = errors.New("it is not the program of this process; was it replaced? start this process again")
	}
	if err != nil {
		w.kill()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("start a worker: %s: %w", cmd.Path, err)
	}
	return w, nil
}

// listen passes frames on until the process ends, and waits for it.
func (w *process) listen(out io.Reader) {
	defer close(w.frames)
	defer func() { _ = w.cmd.Wait() }()
	r := bufio.NewReaderSize(out, 64<<10)
	for {
		frame, err := readFrame(r)
		if err != nil {
			_ = w.cmd.Process.Kill() // what follows a broken frame is noise
			return
		}
		select {
		case w.frames <- frame:
		case <-w.gone:
			_ = w.cmd.Process.Kill()
			return
		}
	}
}

// next is the worker's next frame. After an error the worker is of no use.
func (w *process) next(ctx context.Context, deadline time.Duration) ([]byte, error) {
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for {
		select {
		case frame, ok := <-w.frames:
			if !ok {
				return nil, errDied
			}
			return frame, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, errDeadline
		case <-tick.C:
			if rss, _ := memoryOf(w.cmd.Process.Pid); rss > w.limits.Memory {
				return nil, errMemory
			}
		}
	}
}

// send writes a request without waiting until it is read; that it could not be
// written shows in next.
func (w *process) send(req request) {
	go func() { _ = writeFrame(w.in, req) }()
}

// kill ends the process and waits until it is gone.
func (w *process) kill() {
	_, peak := memoryOf(w.cmd.Process.Pid)
	w.peakRSS = max(w.peakRSS, peak)
	close(w.gone)
	_ = w.cmd.Process.Kill()
	for range w.frames { // until listen has waited for it
	}
	_ = w.in.Close()
}

// memoryOf is the resident memory of a process and the most that it ever was,
// in bytes; 0 where the system does not say.
func memoryOf(pid int) (rss, peak int64) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0
	}
	field := func(name string) int64 {
		_, rest, _ := bytes.Cut(status, []byte("\n"+name+":"))
		digits, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" kB"))
		n, _ := strconv.ParseInt(string(digits), 10, 64)
		return n << 10
	}
	return field("VmRSS"), field("VmHWM")
}
