//go:build e2e

package reconciler_test

import (
	"fmt"
	"testing"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
	vaultapi "github.com/hashicorp/vault/api"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

// bare is the engine's own client, doing what a driver does: it writes with
// compare-and-set where there is one, reads back and verifies.
type bare struct {
	look   func() error                // in bulk: what is there
	write  func(i int, w string) error // one thing, read back and verified
	remove func(i int) error
}

func nameOf(i int) string { return fmt.Sprintf("bench-%d", i) }

func keyOf(i int) string { return fmt.Sprintf("bench/key-%d", i) }

func policyText(i int, word string) string {
	return fmt.Sprintf("path \"secret/data/%s/%d\" {\n  capabilities = [\"read\"]\n}\n", word, i)
}

// jobOf is a job of count 0.
func jobOf(i int, word string) *nomadapi.Job {
	job := nomadapi.NewServiceJob(nameOf(i), nameOf(i), "global", 50)
	job.Region = nil
	job.Datacenters = []string{"*"}
	group, task := nomadapi.NewTaskGroup("main", 0), nomadapi.NewTask("main", "raw_exec")
	task.Config = map[string]any{"command": "/bin/sleep", "args": []string{"3600", word}}
	return job.AddTaskGroup(group.AddTask(task))
}

func bareVault(b testing.TB, address string) bare {
	c, err := vaultapi.NewClient(&vaultapi.Config{Address: address})
	must(b, err)
	c.SetToken(enginetest.Vault(b).Token)
	return bare{
		look: func() error { _, err := c.Sys().ListPolicies(); return err },
		write: func(i int, word string) error {
			if err := c.Sys().PutPolicy(nameOf(i), policyText(i, word)); err != nil {
				return err
			}
			text, err := c.Sys().GetPolicy(nameOf(i))
			if err == nil && text != policyText(i, word) {
				err = fmt.Errorf("%s is %q", nameOf(i), text)
			}
			return err
		},
		remove: func(i int) error { return c.Sys().DeletePolicy(nameOf(i)) },
	}
}

func bareConsul(b testing.TB, address string) bare {
	c, err := consulapi.NewClient(&consulapi.Config{Address: address})
	must(b, err)
	return bare{
		look: func() error { _, _, err := c.KV().List("bench/", nil); return err },
		write: func(i int, word string) error {
			p := &consulapi.KVPair{Key: keyOf(i), Value: []byte(word), Flags: 1}
			if old, _, err := c.KV().Get(p.Key, nil); err != nil {
				return err
			} else if old != nil {
				p.ModifyIndex = old.ModifyIndex
			}
			if done, _, err := c.KV().CAS(p, nil); err != nil || !done {
				return fmt.Errorf("%s: %t, %w", p.Key, done, err)
			}
			got, _, err := c.KV().Get(p.Key, nil)
			if err == nil && string(got.Value) != word {
				err = fmt.Errorf("%s is %q", p.Key, got.Value)
			}
			return err
		},
		remove: func(i int) error { _, err := c.KV().Delete(keyOf(i), nil); return err },
	}
}

func bareNomad(b testing.TB, address string) bare {
	c, err := nomadapi.NewClient(&nomadapi.Config{Address: address})
	must(b, err)
	return bare{
		look: func() error { _, _, err := c.Jobs().List(nil); return err },
		write: func(i int, word string) error {
			index := uint64(0)
			if old, _, err := c.Jobs().Info(nameOf(i), nil); err == nil && old != nil {
				index = *old.JobModifyIndex
			}
			if _, _, err := c.Jobs().RegisterOpts(jobOf(i, word), &nomadapi.RegisterOptions{EnforceIndex: true, ModifyIndex: index}, nil); err != nil {
				return err
			}
			if _, _, err := c.Jobs().Info(nameOf(i), nil); err != nil {
				return err
			}
			p, _, err := c.Jobs().Plan(jobOf(i, word), true, nil)
			if err == nil && p.Diff.Type != "None" {
				err = fmt.Errorf("%s differs", nameOf(i))
			}
			return err
		},
		remove: func(i int) error { _, _, err := c.Jobs().Deregister(nameOf(i), true, nil); return err },
	}
}
