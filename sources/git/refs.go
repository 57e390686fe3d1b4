package git

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// ref resolves a name to a hash, through symbolic refs.
func (s *store) ref(name plumbing.ReferenceName) (h plumbing.Hash, err error) {
	err = s.with(func() error {
		for range 5 {
			r, err := s.own.Reference(name)
			if err != nil {
				return err
			}
			if r.Type() == plumbing.HashReference {
				h = r.Hash()
				return nil
			}
			name = r.Target()
		}
		return fmt.Errorf("%s: symbolic refs without end", name)
	})
	return h, err
}

// headBranch is the branch that HEAD names, or empty where it names none.
func (s *store) headBranch() (branch string, err error) {
	err = s.with(func() error {
		r, err := s.own.Reference(plumbing.HEAD)
		if err != nil {
			return err
		}
		branch = strings.TrimPrefix(r.Target().String(), "refs/heads/")
		return nil
	})
	return branch, err
}

// shallow are the commits whose parents were left out when this repository
// was cloned.
func (s *store) shallow() (map[plumbing.Hash]bool, error) {
	out := map[plumbing.Hash]bool{}
	err := s.with(func() error {
		list, err := s.own.Shallow()
		for _, h := range list {
			out[h] = true
		}
		return err
	})
	return out, err
}
