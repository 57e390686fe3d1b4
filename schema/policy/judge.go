package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// query is one thing that policies judge. Its key stands for the Set, who
// judges, and what is judged.
type query struct {
	key   key
	build func(context.Context) (policies []*Policy, input any, err error) // what it takes to ask: only where nobody has before

	policies []*Policy
	input    json.RawMessage
}

// answer is what policies said.
type answer struct {
	policies []*Policy
	said     []said
}

// newQuery makes a query of an input that is there already.
func (s *Set) newQuery(policies []*Policy, input any) (query, error) {
	raw, err := encode(input)
	if err != nil {
		return query{}, err
	}
	return query{key: keyOf(s.sum[:], namesOf(policies), raw), build: func(context.Context) ([]*Policy, any, error) { return policies, json.RawMessage(raw), nil }}, nil
}

func namesOf(policies []*Policy) []byte {
	var names []byte
	for _, p := range policies {
		names = append(append(names, p.Name...), 0)
	}
	return names
}

// batch is how many things one item of a job holds: enough that sending them
// costs little, few enough that a deadline is one of a few evaluations.
const batch = 16

// ask answers what the policies of every query say, in order.
func (s *Set) ask(ctx context.Context, queries []query) ([]answer, error) {
	c := s.judge.cache
	round := c.begin()
	answers := make([]answer, len(queries))
	var todo []int
	first := map[key]int{}   // the query that is asked, of those that are the same
	again := map[int][]int{} // the others
	for i := range queries {
		q := &queries[i]
		if at, asked := first[q.key]; asked {
			again[at] = append(again[at], i)
			continue
		}
		if e := c.get(q.key, round); e != nil {
			answers[i] = *e
			continue
		}
		policies, input, err := q.build(ctx)
		if err != nil {
			return nil, err
		}
		if len(policies) == 0 {
			c.put(q.key, round, answer{})
			continue
		}
		raw, err := encode(input)
		if err != nil {
			return nil, err
		}
		q.policies, q.input = policies, raw
		first[q.key] = i
		todo = append(todo, i)
	}
	torn, err := s.evaluate(ctx, queries, todo, func(i int, said []said) {
		answers[i] = answer{queries[i].policies, said}
		c.put(queries[i].key, round, answers[i])
	})
	if err != nil {
		return nil, err
	}
	for _, i := range torn {
		answers[i] = answer{queries[i].policies, make([]said, len(queries[i].policies))}
	}
	err = s.oneByOne(ctx, queries, torn, answers)
	for at, same := range again {
		for _, i := range same {
			answers[i] = answers[at]
		}
	}
	return answers, err
}

// evaluate lets the workers judge queries[todo...], in batches. It answers
// those of batches over which a worker ended.
func (s *Set) evaluate(ctx context.Context, queries []query, todo []int, done func(int, []said)) (torn []int, err error) {
	var items []worker.Item
	var members [][]int
	for from := 0; from < len(todo); from += batch {
		some := todo[from:min(from+batch, len(todo))]
		r := request{}
		for _, i := range some {
			r.Pairs = append(r.Pairs, pairs{Policies: refs(queries[i].policies), Input: queries[i].input})
		}
		data, err := encode(r)
		if err != nil {
			return nil, err
		}
		items, members = append(items, worker.Item{Name: "policies", Data: data}), append(members, some)
	}
	var mu sync.Mutex
	err = s.run(ctx, items,
		func(n int, all [][]said) error {
			if len(all) != len(members[n]) {
				return fmt.Errorf("a worker judged %d things of %d", len(all), len(members[n]))
			}
			for k, i := range members[n] {
				done(i, all[k])
			}
			return nil
		},
		func(n int, _ string) {
			mu.Lock()
			torn = append(torn, members[n]...)
			mu.Unlock()
		})
	return torn, err
}

// oneByOne lets every policy judge the queries of torn by itself, so that the one
// that ends its worker is found, and refuses, and no other.
func (s *Set) oneByOne(ctx context.Context, queries []query, torn []int, answers []answer) error {
	type place struct{ query, policy int }
	byPolicy := map[*Policy][]place{}
	for _, i := range torn {
		for k, p := range queries[i].policies {
			byPolicy[p] = append(byPolicy[p], place{i, k})
		}
	}
	for p, places := range byPolicy {
		r := request{}
		for _, at := range places {
			r.Pairs = append(r.Pairs, pairs{Policies: refs([]*Policy{p}), Input: queries[at.query].input})
		}
		data, err := encode(r)
		if err != nil {
			return err
		}
		err = s.run(ctx, []worker.Item{{Name: "policy " + p.Name, Data: data}},
			func(_ int, all [][]said) error {
				if len(all) != len(places) {
					return fmt.Errorf("a worker judged %d things of %d", len(all), len(places))
				}
				for n, at := range places {
					answers[at.query].said[at.policy] = all[n][0]
				}
				return nil
			},
			func(_ int, why string) {
				for _, at := range places {
					answers[at.query].said[at.policy] = said{Broken: "it " + why}
				}
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// run is a job of judging.
func (s *Set) run(ctx context.Context, items []worker.Item, done func(int, [][]said) error, blame func(int, string)) error {
	if len(items) == 0 {
		return nil
	}
	setup, err := s.setup()
	if err != nil {
		return err
	}
	err = s.judge.options.Workers.Run(ctx, worker.Job{Service: Service, Setup: setup, Items: items,
		Done: func(n int, answer []byte) error {
			var all [][]said
			if err := json.Unmarshal(answer, &all); err != nil {
				return fmt.Errorf("a worker's answer: %w", err)
			}
			return done(n, all)
		},
		Blame: func(n int, why string) {
			s.judge.options.Log.WithField("item", items[n].Name).WithField("why", why).Warn("a policy ended its worker")
			blame(n, why)
		},
	})
	if err != nil {
		return fmt.Errorf("judge by policies: %w", err)
	}
	return nil
}

func refs(policies []*Policy) []policyRef {
	all := make([]policyRef, 0, len(policies))
	for _, p := range policies {
		all = append(all, policyRef{Bundle: p.bundle, Name: p.Name, Over: p.Over})
	}
	return all
}
