package terminal

import (
	"regexp"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// said is what was told last, so that the same is not told again and again: by
// resource and type of event, the text without what only counts time.
type said map[schema.ID]map[string]string

// clockRE is what moves by itself in a text: "1.5s", "2 min", "retry 4".
var clockRE = regexp.MustCompile(`\b(\d+(\.\d+)?(µs|ms|s|m|h))+\b|\b\d+(\.\d+)? (ms|s|min|h|days)\b|\b(retry|try|attempt) \d+\b`)

// news notes e, and says whether it is news.
func (s said) news(e reconciler.Event) bool {
	kind := e.Type
	text := string(e.State) + " " + clockRE.ReplaceAllString(e.Message, "#")
	switch e.Type {
	case "source", "templates", "policies":
		if e.Message == "" {
			delete(s[e.ID], kind)
			return true
		}
	case "refused": // a rewound branch is a source that fails as well
		kind, text = "source", " "+clockRE.ReplaceAllString(e.Message, "#")
	case "converged":
		text = e.Revision
	case "state", "failed":
	default: // something has happened: what comes after it is news
		delete(s, e.ID)
		delete(s, schema.ID{})
		return true
	}
	if last, told := s[e.ID][kind]; told && last == text {
		return false
	}
	if s[e.ID] == nil {
		s[e.ID] = map[string]string{}
	}
	if e.Type == "state" && e.State == reconciler.Converged {
		delete(s[e.ID], "failed")
	}
	s[e.ID][kind] = text
	return true
}

// Told notes an event that was told in another way: Event does not repeat it.
func (p *Printer) Told(e reconciler.Event) { p.news(e) }

func (p *Printer) news(e reconciler.Event) bool {
	if p.said == nil {
		p.said = said{}
	}
	if e.Type == "applied" && e.Action == schema.Delete {
		p.deleted++ // no status says what is not there any more
	}
	return p.said.news(e)
}

// silent are events that are no news for people: what a resource waits for is
// told, not that it waits; and a change that was planned again because live had
// moved has not failed.
func silent(e reconciler.Event) bool {
	return e.Type == "state" && e.State == reconciler.Waiting ||
		e.Type == "failed" && strings.Contains(e.Message, drivers.ErrStale.Error())
}
