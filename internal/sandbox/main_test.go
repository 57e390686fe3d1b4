//go:build linux

package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary the stages too, and what runs in them.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		syscall.Exit(Main(os.Args[2:])) // at once: the race detector dawdles in os.Exit
	}
	if len(os.Args) > 2 && os.Args[1] == "try" {
		syscall.Exit(try(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// try is what is run within: it says what it could do.
func try(what string, args []string) int {
	var err error
	switch what {
	case "read":
		var data []byte
		if data, err = os.ReadFile(args[0]); err == nil {
			_, _ = os.Stdout.Write(data)
		}
	case "write":
		err = os.WriteFile(args[0], []byte("x"), 0o600)
	case "list":
		var found []string
		err = filepath.WalkDir("/", func(p string, _ os.DirEntry, err error) error {
			if p == "/lib" || p == "/lib64" || p == "/usr/lib" || p == "/usr/lib64" {
				return filepath.SkipDir
			}
			found = append(found, p)
			return err
		})
		fmt.Println(strings.Join(found, "\n"))
	case "processes": // those that can be sent a signal
		for pid := 1; pid < 1<<16; pid++ {
			if syscall.Kill(pid, 0) != syscall.ESRCH {
				fmt.Println(pid)
			}
		}
	case "environ":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "status":
		err = status()
	case "rights":
		err = rights()
	case "fds":
		for fd := range 256 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				var st unix.Stat_t
				_ = unix.Fstat(fd, &st)
				fmt.Printf("%d %o\n", fd, st.Mode&unix.S_IFMT)
			}
		}
	case "dial":
		_, err = net.DialTimeout("tcp", args[0], 2*time.Second)
	case "get":
		err = get(args[0])
	case "flood":
		for range 1 << 20 {
			fmt.Println(strings.Repeat("x", 100))
		}
	case "eat":
		var all [][]byte
		for range 1 << 12 {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
		}
		fmt.Println(len(all))
	case "kill":
		err = syscall.Kill(1, syscall.SIGKILL)
		err = fmt.Errorf("kill: %v, still here", err)
	case "wait":
		fmt.Println("waiting")
		_ = os.WriteFile(args[0], nil, 0o600)
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		<-c
	case "code":
		n, _ := strconv.Atoi(args[0])
		return n
	case "run": // a sandbox, and what came of it
		var s Spec
		if err = json.NewDecoder(os.Stdin).Decode(&s); err == nil {
			var res []Result
			if res, err = Run(context.Background(), s); err == nil {
				err = json.NewEncoder(os.Stdout).Encode(res)
			}
		}
	}
	if err != nil {
		fmt.Println("refused:", err)
		return 1
	}
	return 0
}

// status is who it is, and what it may do.
func status() error {
	var caps [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]); err != nil {
		return err
	}
	bounding := 0
	for c := range 64 {
		if n, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err == nil {
			bounding += n
		}
	}
	privs, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	groups, err := os.Getgroups()
	fmt.Println("capabilities", caps, bounding, "no new", privs)
	fmt.Println("who", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups)
	return err
}

// rights tries what takes some.
func rights() error {
	for name, f := range map[string]func() error{
		"user namespace": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"user namespace, forked": func() error {
			c := exec.Command(selfPath, "try", "code", "0")
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
			return c.Run()
		},
		"clone3": func() error {
			if _, _, no := syscall.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); no != syscall.ENOSYS {
				return nil
			}
			return syscall.ENOSYS
		},
		"mount":          func() error { return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") },
		"unmount":        func() error { return unix.Unmount("/tmp", unix.MNT_DETACH) },
		"writable root":  func() error { return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
		"name":           func() error { return unix.Sethostname([]byte("x")) },
		"root":           func() error { return syscall.Setresuid(0, 0, 0) },
		"device":         func() error { return unix.Mknod("/tmp/mem", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 1))) },
		"chroot":         func() error { return unix.Chroot("/tmp") },
		"keys":           func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
		"machine's host": func() error { _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); return err },
		"raw packets":    func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
		"crypto sockets": func() error { _, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0); return err },
		"performance": func() error {
			_, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE}, 0, -1, -1, 0)
			return err
		},
		"a program in memory": func() error {
			fd, err := unix.MemfdCreate("program", 0)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		},
		"a handle": func() error { _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/tmp", 0); return err },
		"trace":    func() error { return unix.PtraceAttach(1) },
	} {
		if name == "root" && os.Getuid() == 0 {
			continue // it has the number, and nothing with it
		}
		if err := f(); err == nil {
			fmt.Println("could:", name)
		}
	}
	return nil
}

func get(at string) error {
	proxy, err := url.Parse(ProxyURL)
	if err != nil {
		return err
	}
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return proxy, nil },
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: insecure,
	}}
	res, err := c.Get(at)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(os.Stdout, res.Body)
	return err
}
