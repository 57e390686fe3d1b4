package main

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"golang.org/x/sys/unix"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/drivers/provisioning/tofu"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
)

// TestWithoutRights: whoever plans stacks of proposals is never who plans and
// applies those that were agreed to. That there is no sandbox at the beginning,
// such as for want of open files, is said, and does not stay so.
func TestWithoutRights(t *testing.T) {
	log, hook := test.NewNullLogger()
	own := &tofu.Driver{}
	reg, err := drivers.NewRegistry(
		drivers.Target{Name: "a", Kinds: own.Kinds(), Driver: &drivers.Log{Driver: own}}, drivers.Target{Name: "b", Kinds: own.Kinds(), Driver: own},
		drivers.Target{Name: "c", Kinds: own.Kinds(), Driver: own}, drivers.Target{Name: "mem", Kinds: []string{"mem.thing"}, Driver: &memory.Driver{}},
	)
	if err != nil {
		t.Fatal(err)
	}
	who := "65534"
	if os.Geteuid() != 0 {
		who = strconv.Itoa(os.Geteuid())
	}
	_, _ = user.Current() // now: os/user keeps what comes of it, an error as well
	var files unix.Rlimit
	if err := errors.Join(unix.Getrlimit(unix.RLIMIT_NOFILE, &files), unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: files.Max})); err != nil {
		t.Fatal(err)
	}
	planned, without, err := withoutRights(reg, []config.Target{
		{Name: "a", Engine: "tofu", Plan: &config.Plan{User: who, Providers: []string{"random"}}}, {Name: "b", Engine: "tofu"},
		{Name: "c", Engine: "tofu", Plan: &config.Plan{User: "nobody-of-this-name"}},
	}, log)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if err != nil || strings.Join(without, " ") != "b" {
		t.Fatalf("%v %v", without, err)
	}
	if d, ok := planned.Target("a").Driver.(*tofu.Proposals); !ok || d.Driver != own || d.As.State {
		t.Errorf("%T plans proposals", planned.Target("a").Driver)
	}
	for _, name := range []string{"b", "c"} {
		if _, ok := planned.Target(name).Driver.(*drivers.Withheld); !ok {
			t.Errorf("%T plans proposals of %s", planned.Target(name).Driver, name)
		}
	}
	if said := logged(hook); !strings.Contains(said, "nobody-of-this-name") || !strings.Contains(said, sandbox.ErrBusy.Error()) {
		t.Errorf("why is not said: %s", said)
	}
	if planned.Target("mem").Driver != reg.Target("mem").Driver {
		t.Error("others plan as they do")
	}
}

func logged(hook *test.Hook) string {
	var all []string
	for _, e := range hook.AllEntries() {
		all = append(all, e.Message, e.Data[logrus.ErrorKey].(error).Error())
	}
	return strings.Join(all, "; ")
}

// TestAccount: nobody runs what is proposed as root, or as whom they cannot be.
func TestAccount(t *testing.T) {
	for _, name := range []string{"root", "0"} {
		if u, err := account(name); err == nil {
			t.Errorf("%s is %+v", name, u)
		}
	}
	u, err := account("")
	if root := os.Geteuid() == 0; root != (err != nil) || u != nil {
		t.Errorf("%+v %v", u, err)
	}
	u, err = account("54321")
	if root := os.Geteuid() == 0; root != (err == nil) || root && (u.UID != 54321 || u.GID != 54321) {
		t.Errorf("%+v %v", u, err)
	}
}
