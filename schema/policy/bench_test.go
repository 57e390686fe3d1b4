package policy

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// eight takes the whole library over.
const eight = `package p
import "aplomb.dev/schema/policies/library"
noLatest: library.noLatest
resourceLimits: library.resourceLimits
noRawExec: library.noRawExec
noAnySource: library.noAnySource
ownerLabels: library.ownerLabels
noSecrets: library.noSecrets
dataDeletion: library.dataDeletion
noVaultWildcard: library.noVaultWildcard
`

// many are declarations of a fleet: a third jobs, a third files, the rest
// intentions and policies of Vault.
func many(n int) fstest.MapFS {
	tree := fstest.MapFS{}
	for i := range n {
		envelope := fmt.Sprintf("apiVersion: aplomb.dev/v1\nkind: %%s\nmetadata:\n  name: r%d\n  labels: {owner: team-%d, cost-centre: \"%d\"}\nspec:\n", i, i%40, i%40)
		var kind, spec string
		switch i % 6 {
		case 0, 1:
			kind = "nomad.job"
			spec = fmt.Sprintf("  job:\n    TaskGroups:\n      - Name: web\n        Count: 2\n        Tasks:\n          - Name: server\n            Driver: docker\n            Config: {image: \"registry.example.org/web:1.%d\"}\n            Resources: {CPU: 100, MemoryMB: 128}\n", i)
		case 2, 3:
			kind, spec = "local.file", fmt.Sprintf("  path: f/%d\n  content: \"port = %d\\n\"\n", i, i)
		case 4:
			kind, spec = "consul.service-intentions", fmt.Sprintf("  Sources: [{Name: s%d, Action: allow}]\n", i)
		default:
			kind, spec = "vault.policy", fmt.Sprintf("  policy: \"path \\\"secret/data/s%d\\\" { capabilities = [\\\"read\\\"] }\"\n", i)
		}
		tree[fmt.Sprintf("d%d/r%d.yaml", i%100, i)] = &fstest.MapFile{Data: []byte(fmt.Sprintf(envelope, kind) + spec)}
	}
	return tree
}

func compiled(b *testing.B, pool *worker.Pool, tree fstest.MapFS) []schema.Resource {
	b.Helper()
	got, err := compile.New(compile.Options{Workers: pool}).Compile(context.Background(), compile.Declarations{FS: tree})
	if err != nil || len(got.Findings) > 0 {
		b.Fatal(err, got.Findings[:min(len(got.Findings), 3)])
	}
	return got.Resources
}

// BenchmarkJudge is 10,000 resources by the eight policies of the library, in
// two workers, beside compiling them: cold at most as long again, warm what
// changed.
func BenchmarkJudge(b *testing.B) {
	const n = 10_000
	pool := testPool(b, time.Minute)
	tree := many(n)
	resources := compiled(b, pool, tree)
	policies := fstest.MapFS{"p.cue": {Data: []byte(eight)}}
	b.Run("compile-cold", func(b *testing.B) {
		for b.Loop() {
			compiled(b, pool, tree)
		}
	})
	set := func(b *testing.B) *Set {
		s, findings, err := New(Options{Workers: pool}).Load(context.Background(), policies)
		if err != nil || len(findings) > 0 {
			b.Fatal(err, findings)
		}
		return s
	}
	say := func(b *testing.B, s *Set) {
		said, err := s.Resources(context.Background(), "prod", resources)
		if err != nil {
			b.Fatal(err)
		}
		for i, v := range said {
			if len(v) > 0 {
				b.Fatal(resources[i].ID, v)
			}
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			say(b, set(b))
		}
	})
	b.Run("warm", func(b *testing.B) {
		s := set(b)
		say(b, s)
		for b.Loop() {
			say(b, s)
		}
	})
	b.Run("one-changed", func(b *testing.B) {
		s := set(b)
		say(b, s)
		i := 0
		for b.Loop() {
			i++
			resources[0].Labels = map[string]string{"owner": fmt.Sprint("o", i), "cost-centre": "1"}
			say(b, s)
		}
	})
}
