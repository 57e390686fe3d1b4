package sandbox

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// drop gives up the user and everything that this thread may do, for good: no
// program that it becomes gets any of it back.
func (s *Spec) drop() error {
	for c := uintptr(0); c < 64; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // there are no more
		}
		if err != nil {
			return failed("drop", fmt.Sprintf("capability %d", c), err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return failed("drop", "ambient capabilities", err)
	}
	if u := s.User; u != nil {
		if err := syscall.Setgroups([]int{}); err != nil {
			return failed("leave", "all groups", err)
		}
		if err := syscall.Setresgid(u.GID, u.GID, u.GID); err != nil {
			return failed("become", fmt.Sprintf("group %d", u.GID), err)
		}
		if err := syscall.Setresuid(u.UID, u.UID, u.UID); err != nil {
			return failed("become", fmt.Sprintf("user %d", u.UID), err)
		}
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return failed("drop", "capabilities", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return failed("forbid", "new privileges", err)
	}
	return restrict()
}
