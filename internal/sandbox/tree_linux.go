package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// base is where the new root lies until the old one is left. It hides what lies
// there, so that everything that is to be seen is held before.
const base = "/tmp"

// devices are those that programs cannot do without.
var devices = []string{"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}

// libraries are the folders of what programs are linked to where they are not
// static: files of the system that everybody may read.
var libraries = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}

// held is something of the old root that will be seen in the new one.
type held struct {
	fd  int
	to  string
	dir bool
}

// tree builds the new root, and leaves the old one. There is no /proc in it:
// programs can do without, and whoever can have a file opened reads there what
// environment they have.
func (s *Spec) tree() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return failed("detach", "/", err)
	}
	all, err := s.hold()
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
		return failed("make", "a root", err)
	}
	for _, h := range all {
		if err := h.place(); err != nil {
			return err
		}
	}
	for _, w := range s.Writable {
		within := func(above string) bool { return strings.HasPrefix(w, above+"/") }
		if slices.ContainsFunc(s.Writable, within) {
			continue // it can be written already
		}
		if err := s.makeWritable(w); err != nil {
			return err
		}
	}
	return leave()
}

// hold takes hold of what will be seen.
func (s *Spec) hold() ([]held, error) {
	self, err := program()
	if err != nil {
		return nil, err
	}
	mounts := append(slices.Clone(s.Mounts), Mount{From: self, To: selfPath})
	for _, d := range devices {
		mounts = append(mounts, Mount{From: d, To: d})
	}
	for _, d := range libraries {
		if info, err := os.Stat(d); err == nil && info.IsDir() {
			mounts = append(mounts, Mount{From: d, To: d})
		}
	}
	var all []held
	for _, m := range mounts {
		info, err := os.Stat(m.From)
		if err != nil {
			return nil, failed("see", m.From, err)
		}
		fd, err := unix.OpenTree(unix.AT_FDCWD, m.From, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return nil, failed("take hold of", m.From, err)
		}
		attr := uint64(unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID)
		if slices.Contains(devices, m.To) {
			attr |= unix.MOUNT_ATTR_NOEXEC
		} else {
			attr |= unix.MOUNT_ATTR_NODEV
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr}); err != nil {
			return nil, failed("make read-only", m.From, err)
		}
		all = append(all, held{fd: fd, to: m.To, dir: info.IsDir()})
	}
	return all, nil
}

// program is the file of this very binary, by its path in these namespaces.
func program() (string, error) {
	const running = "/proc/self/exe"
	at, err := os.Readlink(running)
	if err != nil {
		return "", failed("find", "this program", err)
	}
	mine, err := os.Stat(running)
	if err != nil {
		return "", failed("find", "this program", err)
	}
	if now, err := os.Stat(at); err != nil || !os.SameFile(mine, now) {
		return "", errors.New("this program was replaced since it started: start it again")
	}
	return at, nil
}

// place puts something where it is seen.
func (h held) place() error {
	at := filepath.Join(base, h.to)
	if err := os.MkdirAll(path.Dir(at), 0o755); err != nil {
		return failed("make", path.Dir(h.to), err)
	}
	var err error
	if h.dir {
		err = os.MkdirAll(at, 0o755)
	} else if f, ferr := os.OpenFile(at, os.O_CREATE|os.O_EXCL, 0o444); ferr != nil {
		err = ferr
	} else {
		err = f.Close()
	}
	if err != nil {
		return failed("make", h.to, err)
	}
	if err := unix.MoveMount(h.fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return failed("place", h.to, err)
	}
	return failed("place", h.to, unix.Close(h.fd))
}

// makeWritable makes a folder in memory, from which nothing can be run.
func (s *Spec) makeWritable(dir string) error {
	at := filepath.Join(base, dir)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return failed("make", dir, err)
	}
	options := fmt.Sprintf("mode=0700,size=%d,nr_inodes=100000", s.Limits.Files)
	if s.User != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", s.User.UID, s.User.GID)
	}
	return failed("make", dir, unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options))
}

// leave makes the new root the root, and lets go of the old one.
func leave() error {
	if err := unix.Chdir(base); err != nil {
		return failed("enter", "the root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return failed("enter", "the root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("leave", "the old root", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return failed("enter", "the root", err)
	}
	return failed("make read-only", "the root", unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
}
