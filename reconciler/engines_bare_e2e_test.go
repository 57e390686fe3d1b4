//go:build e2e

package reconciler_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
	vaultapi "github.com/hashicorp/vault/api"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

// bare is the engine's own client, doing what a driver does: it writes with
// compare-and-set where there is one, reads back and verifies.
type bare struct {
	look   func() (map[string]uint64, error)            // in bulk: what is there, and its index where writes compare one
	write  func(i int, word string, index uint64) error // one thing, read back and verified
	well   func() error                                 // waits until what was written is healthy; nil: the engine knows no health of it
	remove func(i int) error
	rest   func() error // waits until the engine is done with what was removed; nil: it is at once
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

// pooled keeps as many connections as a driver does.
func pooled() *http.Client { return &http.Client{Transport: driverkit.Transport(atOnce, nil)} }

func host(address string) string { return strings.TrimPrefix(address, "http://") }

func bareVault(b testing.TB, address string) bare {
	c, err := vaultapi.NewClient(&vaultapi.Config{Address: address, HttpClient: pooled()})
	must(b, err)
	c.SetToken(enginetest.Vault(b).Token)
	return bare{
		look: func() (map[string]uint64, error) {
			_, err := c.Sys().ListPolicies()
			return nil, err
		},
		write: func(i int, word string, _ uint64) error {
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
	c, err := consulapi.NewClient(&consulapi.Config{Address: host(address), HttpClient: pooled()})
	must(b, err)
	return bare{
		look: func() (map[string]uint64, error) {
			pairs, _, err := c.KV().List("bench/", nil)
			at := map[string]uint64{}
			for _, p := range pairs {
				at["bench-"+strings.TrimPrefix(p.Key, "bench/key-")] = p.ModifyIndex
			}
			return at, err
		},
		write: func(i int, word string, index uint64) error {
			p := &consulapi.KVPair{Key: keyOf(i), Value: []byte(word), Flags: 1, ModifyIndex: index}
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
	c, err := nomadapi.NewClient(&nomadapi.Config{Address: address, HttpClient: pooled()})
	must(b, err)
	return bare{
		look: func() (map[string]uint64, error) {
			jobs, _, err := c.Jobs().List(nil)
			at := map[string]uint64{}
			for _, j := range jobs {
				at[j.ID] = j.JobModifyIndex
			}
			return at, err
		},
		write: func(i int, word string, index uint64) error {
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
		well:   func() error { return evaluated(c) },
		remove: func(i int) error { _, _, err := c.Jobs().Deregister(nameOf(i), true, nil); return err },
		rest: func() error {
			if err := evaluated(c); err != nil {
				return err
			}
			return c.System().GarbageCollect() // of evaluations, which each side would find more of than the one before
		},
	}
}

// evaluated waits until Nomad has evaluated all that was registered: only then
// is known whether a job is healthy. Nomad may call a job pending for longer
// than that (its evaluations are taken by the prefix of its name), so that the
// evaluations are asked, all at once.
func evaluated(c *nomadapi.Client) error {
	for index := uint64(0); ; {
		open, meta, err := c.Evaluations().List(&nomadapi.QueryOptions{Filter: `Status == "pending"`, WaitIndex: index, WaitTime: time.Second})
		if err != nil || len(open) == 0 {
			return err
		}
		index = meta.LastIndex
	}
}
