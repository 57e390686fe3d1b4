package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// Bounds of a message.
const (
	mostItems = 20
	mostText  = 300   // letters of one text
	mostBody  = 6_000 // letters of all of them, for a chat
)

// Message is what is told once. It holds what aplomb status shows.
type Message struct {
	ID          string                   `json:"id"` // stays the same when it is sent again
	Environment string                   `json:"environment"`
	At          time.Time                `json:"at"`
	Revision    string                   `json:"revision,omitempty"` // in force
	Title       string                   `json:"title,omitempty"`    // its first line
	What        map[string]int           `json:"what"`               // how much of each kind
	Items       []Item                   `json:"items"`
	More        int                      `json:"more,omitempty"` // items that are left out
	Counts      map[reconciler.State]int `json:"counts,omitempty"`
	Converged   bool                     `json:"converged"`
	Text        string                   `json:"text"` // all of it, for people
}

// Item is one thing that changed.
type Item struct {
	What     string `json:"what"`
	Resource string `json:"resource,omitempty"` // "": it is about the environment
	Use      string `json:"use,omitempty"`      // of a template, that yields it
	Text     string `json:"text,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// add puts news into a message, in the order of Whats.
func (m *Message) add(all []news) {
	m.Items, m.What = []Item{}, map[string]int{}
	for _, what := range Whats {
		for _, n := range all {
			if n.what != what {
				continue
			}
			m.What[what]++
			if len(m.Items) == mostItems {
				m.More++
				continue
			}
			m.Items = append(m.Items, item(n))
		}
	}
}

func item(n news) Item {
	i := Item{What: n.what, Text: tidy(n.text)}
	if r := n.resource; r != nil {
		i.Resource, i.Text, i.Hint = r.ID.String(), tidy(r.Reason), tidy(r.Hint)
		if r.Use != nil {
			i.Use = r.Use.String()
		}
	}
	return i
}

// headline is what is told, in one line that holds nothing of a repository.
func (m Message) headline() string {
	var parts []string
	for _, what := range Whats {
		switch n := m.What[what]; {
		case n == 0:
		case what == whatConverged || what == whatRefused || what == whatBack:
			parts = append(parts, what)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	at := ""
	if m.Revision != "" {
		at = " at " + m.Revision[:min(len(m.Revision), 7)]
	}
	return "aplomb " + m.Environment + ": " + strings.Join(parts, ", ") + at
}

// body is what is told, a line each.
func (m Message) body() string {
	var lines []string
	for _, i := range m.Items {
		line := i.What
		if i.Resource != "" {
			line += "  " + i.Resource
		}
		if i.Text != "" {
			line += "  " + i.Text
		}
		if i.Hint != "" {
			line += " · " + i.Hint
		}
		lines = append(lines, line)
	}
	if m.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: aplomb status", m.More))
	}
	if m.Title != "" {
		lines = append(lines, "revision: "+m.Title)
	}
	return strings.Join(lines, "\n")
}

func (m Message) plain() string { return m.headline() + "\n" + m.body() }

// slack is the message as a chat takes it. What others wrote stands in a block
// that shows text as it is: it can neither mark up, link, nor call anybody.
func (m Message) slack() ([]byte, error) {
	body := strings.ReplaceAll(clip(m.body(), mostBody), "`", "'")
	return json.Marshal(map[string]string{"text": escape.Replace(m.headline()) + "\n```\n" + escape.Replace(body) + "\n```"})
}

// escape is what a text must not hold as it is.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// tidy is a text on one line, without what could be a secret, of bounded length.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, schema.Mask(s))
	return clip(strings.Join(strings.Fields(s), " "), mostText)
}

// clip is the first so many letters of a text.
func clip(s string, most int) string {
	if letters := []rune(s); len(letters) > most {
		return string(letters[:most]) + "…"
	}
	return s
}
