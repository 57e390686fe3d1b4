package drivertest

import (
	"slices"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func checker(b *bench) string {
	_, ok := drivers.As[drivers.Checker](b.d)
	return lacking(!ok, "drivers.Checker")
}

func claimer(b *bench) string {
	_, ok := drivers.As[drivers.Claimer](b.d)
	return lacking(!ok, "drivers.Claimer")
}

// checked: what can be applied passes Check, also while a field of it is not
// known.
func checked(b *bench) {
	c, _ := drivers.As[drivers.Checker](b.d)
	pass := func(it *drivers.Item) {
		if err := c.Check(b.s.Kind, it.ID.Name, *it.Want); err != nil {
			b.blame("What Check refuses Plan or Apply would too", "%s: %v", it.Want.Spec, err)
		}
	}
	for _, variant := range []string{b.s.A, b.s.B, b.s.C, b.s.D, b.s.P} {
		if variant != "" {
			pass(b.sample(variant))
		}
	}
	if b.s.Unknown == "" {
		return
	}
	const text = "@{test.kind/other.output}"
	it := b.sample(b.s.A)
	b.want(it, with(b.T, b.s.spec(b.s.A, b.s.name()), b.s.Unknown, text))
	it.Want.Unknown = map[schema.Path]string{b.s.Unknown: text}
	pass(it)
}

// claims: they are the same whenever they are asked for, and two that can live
// at once do not want the same.
func claims(b *bench) {
	c, _ := drivers.As[drivers.Claimer](b.d)
	ask := func(name string) []drivers.Claim {
		it := b.item(b.s.A, name)
		first := c.Claims(b.s.Kind, name, *it.Want)
		if again := c.Claims(b.s.Kind, name, *it.Want); !slices.Equal(first, again) {
			b.blame("Claims is pure", "%v, then %v", first, again)
		}
		return first
	}
	one, two := ask("one"), ask("two")
	for _, x := range one {
		if slices.ContainsFunc(two, func(y drivers.Claim) bool { return x.Thing == y.Thing && !(x.Shared && y.Shared) }) && !b.s.Alone {
			b.blame("no other of the target may claim the same, unless both share it", "two samples claim %s", x.Thing)
		}
	}
}

func needer(b *bench) string {
	_, ok := drivers.As[drivers.Needer](b.d)
	return lacking(!ok, "driver that knows an order")
}

// needs: they are the same whenever they are asked for, and nothing needs
// itself.
func needs(b *bench) {
	n, _ := drivers.As[drivers.Needer](b.d)
	it := b.sample(b.s.A)
	first := n.Needs(b.s.Kind, b.s.name(), *it.Want)
	if again := n.Needs(b.s.Kind, b.s.name(), *it.Want); !slices.Equal(first, again) {
		b.blame("It is pure and without I/O", "%q, then %q", first, again)
	}
	if slices.Contains(first, it.Handle) || slices.Contains(first, "") {
		b.blame("Needs are the handles of its own target that must be there before", "%q needs %q", it.Handle, first)
	}
}
