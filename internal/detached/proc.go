package detached

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Proc names a process for as long as the machine runs: a pid is used again,
// a pid with its start time is not.
type Proc struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot: field 22 of /proc/PID/stat
}

// stat is what this package reads of /proc/PID/stat.
type stat struct {
	state byte // 'Z' and 'X' are dead
	ppid  int
	start uint64
}

// parseStat reads the text of /proc/PID/stat. The command's name, field 2, is
// in parentheses and may itself hold anything.
func parseStat(text []byte) (stat, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, errors.New("no command name")
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("%d fields after the name", len(fields))
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, err
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, err
	}
	return stat{state: fields[0][0], ppid: ppid, start: start}, nil
}

func readStat(pid int) (stat, error) {
	text, err := readProc(pid, "stat", 4<<10)
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

func readProc(pid int, name string, most int64) ([]byte, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/" + name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, most))
}

// procOf names the process that has pid now.
func procOf(pid int) (Proc, error) {
	s, err := readStat(pid)
	return Proc{PID: pid, Start: s.start}, err
}

// alive says whether that very process, and not another with its pid, runs.
func (p Proc) alive() bool {
	if p.PID <= 0 {
		return false
	}
	s, err := readStat(p.PID)
	return err == nil && s.start == p.Start && s.state != 'Z' && s.state != 'X'
}

// open gives a pidfd of that very process; ESRCH if it is gone.
func (p Proc) open() (int, error) {
	if p.PID <= 0 {
		return -1, syscall.ESRCH
	}
	fd, err := unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if !p.alive() {
		_ = unix.Close(fd)
		return -1, syscall.ESRCH
	}
	return fd, nil
}

// signal signals that very process. One that is gone is no error.
func (p Proc) signal(sig syscall.Signal) error {
	fd, err := p.open()
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// bootID changes with every start of the machine.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// pids lists all processes.
func pids() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	list := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			list = append(list, pid)
		}
	}
	return list, nil
}

// Marked is a living process and the folder of the run that it belongs to.
type Marked struct {
	Proc
	Dir string
}

// Find lists the living processes that belong to the run in dir, or, where
// dir ends in a slash, to any run below it: those that carry its mark in the
// environment they were started with. It reads all of /proc: not for every
// turn.
func Find(dir string) ([]Marked, error) {
	all, err := pids()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []Marked
	for _, pid := range all {
		p, err := procOf(pid)
		if err != nil {
			continue
		}
		run := mark(pid)
		if (run == dir || strings.HasSuffix(dir, "/") && strings.HasPrefix(run, dir)) && run != "" && p.alive() {
			found = append(found, Marked{Proc: p, Dir: run})
		}
	}
	return found, nil
}

// mark is the run that a process names at the head of its environment, where
// the shim puts it; "" where it names none.
func mark(pid int) string {
	const head = 8 << 10
	env, err := readProc(pid, "environ", head)
	if err != nil {
		return ""
	}
	for _, v := range bytes.Split(env, []byte{0}) {
		if run, ok := strings.CutPrefix(string(v), MarkVariable+"="); ok {
			return run
		}
	}
	return ""
}

// descendants lists what lives below the process pid.
func descendants(pid int) []Proc {
	all, err := pids()
	if err != nil {
		return nil
	}
	children := map[int][]Proc{}
	for _, p := range all {
		if s, err := readStat(p); err == nil && s.state != 'Z' {
			children[s.ppid] = append(children[s.ppid], Proc{PID: p, Start: s.start})
		}
	}
	var below []Proc
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, c := range children[queue[0]] {
			below = append(below, c)
			queue = append(queue, c.PID)
		}
	}
	return below
}
