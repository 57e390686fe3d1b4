package tofu

import (
	"os"
	"slices"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// scrubber takes out of what the tool says whatever is known to be secret: its
// errors repeat what providers say, and those repeat what they were given.
type scrubber struct {
	*driverkit.Scrubber
	mute bool // it is not known what is secret: nothing is told
}

// scrubber knows the values of secret variables, what else is named, and what
// the tool gets of this process's environment.
func (w *workspace) scrubber(d *Driver, more []schema.Secret) *scrubber {
	all := slices.Clone(more)
	for _, v := range w.vars {
		all = append(all, v)
	}
	for _, name := range d.Pass {
		if v := os.Getenv(name); len(v) >= minPassed {
			all = append(all, schema.NewSecret(v))
		}
	}
	return newScrubber(all)
}

// minPassed is the length of a passed variable that can be a secret: a
// shorter one, such as a region's name, may be a word of the text.
const minPassed = 16

func newScrubber(secrets []schema.Secret) *scrubber {
	return &scrubber{Scrubber: driverkit.NewScrubber(secrets...)}
}

// known are the secrets that it takes out; none of no scrubber.
func (s *scrubber) known() []schema.Secret {
	if s == nil {
		return nil
	}
	return s.Secrets()
}

// keptBack stands for what is not told.
const keptBack = "what the tool said is kept back: the state, which says what is secret, cannot be read"

func (s *scrubber) scrub(text string) string {
	if s.mute {
		return keptBack
	}
	return s.Scrub(text)
}
