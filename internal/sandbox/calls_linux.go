package sandbox

import (
	"maps"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// refusedCalls are calls of the kernel that nothing needs that plans: most take
// rights that nobody has within, and have been the way out of many a sandbox all
// the same.
var refusedCalls = []string{
	"bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl",
	"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise",
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr",
	"unshare", "setns", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "quotactl", "quotactl_fd", "acct",
	"init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff",
	"iopl", "ioperm", "modify_ldt", "syslog", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "lookup_dcookie", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl", "vhangup",
	"memfd_create", "execveat", // which run what was written
	"memfd_secret", "landlock_create_ruleset", "mknod", "mknodat",
}

// families are the kinds of sockets that there are. Others reach past the
// network namespace, such as to the host of a virtual machine.
var families = []uint64{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// namespaces are the flags of clone that make a namespace. In a user namespace of
// its own a program would be root again, as far as the kernel's faults go.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// restrict has the kernel refuse this thread, and all that comes of it, calls that
// are refused, that it does not know by name, or that are made as another
// architecture makes them. It takes no_new_privs.
func restrict() error {
	known, err := arch.GetInfo("")
	if err != nil {
		return failed("forbid", "calls", err)
	}
	var allowed []string
	for _, name := range slices.Sorted(maps.Keys(known.SyscallNames)) {
		if !slices.Contains([]string{"socket", "clone", "clone3"}, name) && !slices.Contains(refusedCalls, name) {
			allowed = append(allowed, name)
		}
	}
	group := seccomp.SyscallGroup{Action: seccomp.ActionAllow, Names: allowed, NamesWithCondtions: []seccomp.NameWithConditions{{
		Name: "clone", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsNotSet, Value: namespaces}},
	}}}
	for _, family := range families {
		group.NamesWithCondtions = append(group.NamesWithCondtions, seccomp.NameWithConditions{
			Name: "socket", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: family}},
		})
	}
	absent := seccomp.SyscallGroup{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}} // its flags cannot be seen; programs take clone instead
	return failed("forbid", "calls", seccomp.LoadFilter(seccomp.Filter{
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{group, absent}},
	}))
}
