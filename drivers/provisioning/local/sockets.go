package local

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// EnvironmentVariable marks the processes of an environment: its value is the
// environment's id.
const EnvironmentVariable = "APLOMB_ENVIRONMENT"

const (
	maxSocketTable = 64 << 20 // bytes of /proc/net/tcp that are read
	maxEnviron     = 4 << 20  // bytes of a process's environment that are read
)

// listener is one listening TCP socket.
type listener struct {
	addr  netip.Addr
	port  int
	inode uint64
}

// parseSockets reads the listening sockets of a table such as /proc/net/tcp.
// A line that it does not understand is passed over.
func parseSockets(r io.Reader) ([]listener, error) {
	var all []listener
	lines := bufio.NewScanner(io.LimitReader(r, maxSocketTable))
	for lines.Scan() {
		if l, ok := parseSocket(lines.Bytes()); ok {
			all = append(all, l)
		}
	}
	return all, lines.Err()
}

// parseSocket reads "sl local remote st tx:rx tr:when retrnsmt uid timeout
// inode …", where addresses are words of 32 bits in the machine's byte order.
func parseSocket(line []byte) (l listener, ok bool) {
	if !bytes.Contains(line, []byte(" 0A ")) { // most lines are connections
		return l, false
	}
	fields := bytes.Fields(line)
	if len(fields) < 10 || string(fields[3]) != "0A" {
		return l, false
	}
	host, port, found := strings.Cut(string(fields[1]), ":")
	raw, err := hex.DecodeString(host)
	if !found || err != nil || len(raw) != 4 && len(raw) != 16 {
		return l, false
	}
	if littleEndian {
		for word := range slices.Chunk(raw, 4) {
			slices.Reverse(word)
		}
	}
	addr, _ := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return l, false
	}
	inode, err := strconv.ParseUint(string(fields[9]), 10, 64)
	return listener{addr.Unmap(), int(n), inode}, err == nil
}

// scanner finds out whose a socket is, and remembers it: a socket's number is
// its own for as long as it lives.
type scanner struct {
	proc string
	mark []byte

	mu    sync.Mutex
	whose map[uint64]string // inode -> who, "" for this environment
}

func newScanner(proc, env string) *scanner {
	if proc == "" {
		proc = "/proc"
	}
	return &scanner{proc: proc, mark: []byte(EnvironmentVariable + "=" + env), whose: map[uint64]string{}}
}

func (s *scanner) listeners() ([]listener, error) {
	var all []listener
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(filepath.Join(s.proc, table))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		some, err := parseSockets(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// sockets is one look at who listens, taken when it is first asked for.
type sockets struct {
	*scanner
	once   sync.Once
	byPort map[int][]listener
	err    error
}

func (s *sockets) load() {
	all, err := s.listeners()
	s.err = err
	s.byPort = map[int][]listener{}
	for _, l := range all {
		s.byPort[l.port] = append(s.byPort[l.port], l)
	}
	s.keepOnly(all)
}

// foreign names who listens on a port and is not of this environment; "" for
// nobody.
func (s *sockets) foreign(r portRecord) (string, error) {
	s.once.Do(s.load)
	if s.err != nil {
		return "", s.err
	}
	for _, l := range s.byPort[r.Port] {
		if !overlaps(r.Host, l.addr) {
			continue
		}
		if who := s.owner(l.inode); who != "" {
			return who, nil
		}
	}
	return "", nil
}

// overlaps says whether a listener on addr gets in the way of one on host.
func overlaps(host string, addr netip.Addr) bool {
	if host == "localhost" {
		return addr.IsLoopback() || addr.IsUnspecified()
	}
	h, err := netip.ParseAddr(host)
	if err != nil || addr.IsUnspecified() || h.IsUnspecified() {
		return true
	}
	return h.Unmap() == addr
}

// keepOnly forgets sockets that are gone.
func (s *scanner) keepOnly(all []listener) {
	live := make(map[uint64]bool, len(all))
	for _, l := range all {
		live[l.inode] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for inode := range s.whose {
		if !live[inode] {
			delete(s.whose, inode)
		}
	}
}

// owner names the process that has a socket, "" for one of this environment.
func (s *scanner) owner(inode uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who, ok := s.whose[inode]; ok {
		return who
	}
	who, found := s.find(fmt.Sprintf("socket:[%d]", inode))
	if !found {
		return "a process that cannot be seen" // asked again the next time
	}
	s.whose[inode] = who
	return who
}

// find looks through all processes for one that has the link among its files.
func (s *scanner) find(link string) (who string, found bool) {
	pids, err := os.ReadDir(s.proc)
	if err != nil {
		return "", false
	}
	for _, p := range pids {
		if _, err := strconv.Atoi(p.Name()); err != nil || !s.has(p.Name(), link) {
			continue
		}
		found = true
		if s.marked(p.Name()) {
			return "", true
		}
		who = s.describe(p.Name())
	}
	return who, found
}

func (s *scanner) has(pid, link string) bool {
	dir := filepath.Join(s.proc, pid, "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false // another user's, or gone
	}
	return slices.ContainsFunc(fds, func(fd fs.DirEntry) bool {
		target, err := os.Readlink(filepath.Join(dir, fd.Name()))
		return err == nil && target == link
	})
}

func (s *scanner) marked(pid string) bool {
	data, err := readBounded(filepath.Join(s.proc, pid, "environ"), maxEnviron)
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(data, []byte{0}) {
		if bytes.Equal(v, s.mark) {
			return true
		}
	}
	return false
}

func (s *scanner) describe(pid string) string {
	name, err := readBounded(filepath.Join(s.proc, pid, "comm"), 64)
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("process %s (%s)", pid, strings.ToValidUTF8(strings.TrimSpace(string(name)), "?"))
}

func readBounded(path string, most int64) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, most))
}
