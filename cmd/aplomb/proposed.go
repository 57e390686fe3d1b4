package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/provisioning/tofu"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema"
)

// probeTime bounds the trial of a sandbox.
const probeTime = 10 * time.Second

// withoutRights is a registry for plans of proposals, in which no target runs what
// a proposal brings with the rights of the daemon: a stack's module may do
// anything that whoever runs it may. A target of stacks plans them with the
// identity that it has for that, or not at all. It answers the targets that have
// none, too.
func withoutRights(reg *drivers.Registry, configured []config.Target, log logrus.FieldLogger) (*drivers.Registry, []string, error) {
	var all []drivers.Target
	var without []string
	for _, t := range reg.All() {
		own := *t
		if slices.Contains(t.Kinds, tofu.Kind) {
			i := slices.IndexFunc(configured, func(c config.Target) bool { return c.Name == t.Name })
			var p *config.Plan
			if i >= 0 {
				p = configured[i].Plan
			}
			if own.Driver = proposer(t.Driver, p, log.WithField("target", t.Name)); p == nil {
				without = append(without, t.Name)
			}
		}
		all = append(all, own)
	}
	planned, err := drivers.NewRegistry(all...)
	return planned, without, err
}

// proposer is the driver that plans stacks of proposals; without an identity that
// can be used, one that plans none. Whether this machine gives a sandbox is seen
// at each plan, since what it lacks may pass; it is tried here for the log alone.
func proposer(d drivers.Driver, p *config.Plan, log logrus.FieldLogger) drivers.Driver {
	real, ok := drivers.As[*tofu.Driver](d)
	if ok {
		d = &tofu.Aside{Driver: real}
	}
	if p == nil {
		return &drivers.Withheld{Driver: d, Why: "stacks are not planned on proposals: planning runs their modules"}
	}
	if !ok {
		return &drivers.Withheld{Driver: d, Why: "stacks of this target are not planned on proposals"}
	}
	as, err := planIdentity(p, log)
	if err != nil {
		log.WithError(err).Warn("stacks of proposals are not planned")
		return &drivers.Withheld{Driver: d, Why: "not planned on a proposal: nobody is there to plan it as; the daemon's log says why"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	if err := sandbox.Probe(ctx, as.User); err != nil {
		log.WithError(err).Warn("stacks of proposals are not planned as long as this is so")
	}
	return &tofu.Proposals{Driver: real, As: as}
}

// planIdentity is what stacks of proposals are planned with.
func planIdentity(p *config.Plan, log logrus.FieldLogger) (tofu.Identity, error) {
	as := tofu.Identity{Providers: p.Providers, Modules: p.Modules, Hosts: p.Network, Mirror: p.Mirror, State: p.State, Variables: map[string]func() (schema.Secret, error){}}
	for name, path := range p.Variables {
		as.Variables[name] = (&secretFile{path: path, log: log}).read
	}
	var err error
	if as.User, err = account(p.User); err != nil {
		return as, err
	}
	return as, as.Check()
}

// account is the user that something runs as, by name or number; nil is the
// daemon's own, which is not root.
func account(name string) (*sandbox.User, error) {
	self := os.Geteuid()
	if name == "" {
		if self == 0 {
			return nil, errors.New("the daemon is root, and plan.user names nobody else")
		}
		return nil, nil
	}
	u, err := user.Lookup(name)
	if number, nerr := strconv.Atoi(name); nerr == nil {
		if u, err = user.LookupId(name); err != nil { // it needs no name
			u, err = &user.User{Uid: strconv.Itoa(number), Gid: strconv.Itoa(number)}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("find the user %s: %w", name, err)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	switch {
	case uerr != nil || gerr != nil:
		return nil, fmt.Errorf("find the user %s: it has no number", name)
	case uid == self && self != 0:
		return nil, nil
	case uid == 0 || gid == 0:
		return nil, fmt.Errorf("the user %s is root", name)
	case self != 0:
		return nil, fmt.Errorf("only root can run something as %s", name)
	}
	return &sandbox.User{UID: uid, GID: gid}, nil
}
