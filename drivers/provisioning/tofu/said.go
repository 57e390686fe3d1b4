package tofu

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// maxLine bounds a line of what the tool says with -json; a longer one is left
// out.
const maxLine = 1 << 20

// line is what is read of a line that the tool says with -json.
type line struct {
	Type       string                `json:"type"`
	Diagnostic diagnostic            `json:"diagnostic"`
	Outputs    map[string]toldOutput `json:"outputs"`
	Hook       struct {
		Resource struct {
			Addr string `json:"addr"`
		} `json:"resource"`
		Action string `json:"action"`
	} `json:"hook"`
}

// diagnostic leaves out the snippet of the source, which holds values.
type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
	Range    *struct {
		Filename string `json:"filename"`
		Start    struct {
			Line int `json:"line"`
		} `json:"start"`
	} `json:"range"`
}

// toldOutput is an output as apply and output tell it; apply tells no value
// that is sensitive.
type toldOutput struct {
	Sensitive bool            `json:"sensitive"`
	Value     json.RawMessage `json:"value"`
}

// said is what a run of the tool said.
type said struct {
	errors  []diagnostic
	checks  []string // of check blocks that failed
	outputs map[string]toldOutput
	ended   bool // it said so itself, by telling the outputs
}

// listen reads what the tool says with -json. What is no such line is left out.
func listen(r io.Reader) (*said, error) {
	s := &said{}
	err := eachLine(r, func(text []byte) {
		var l line
		if json.Unmarshal(text, &l) == nil {
			s.hear(&l)
		}
	})
	return s, err
}

func (s *said) hear(l *line) {
	const many = 20
	switch {
	case l.Type == "outputs":
		s.outputs, s.ended = l.Outputs, true
	case l.Type != "diagnostic":
	case l.Diagnostic.Severity == "error" && len(s.errors) < many:
		s.errors = append(s.errors, l.Diagnostic)
	case l.Diagnostic.Summary == checkFailed && len(s.checks) < many:
		s.checks = append(s.checks, l.Diagnostic.Detail)
	}
}

// checkFailed is the summary of the warning about a check block.
const checkFailed = "Check block assertion failed"

// eachLine calls f with every line that is not too long.
func eachLine(r io.Reader, f func([]byte)) error {
	b := bufio.NewReaderSize(r, 64<<10)
	var text []byte
	long := false
	for {
		part, err := b.ReadSlice('\n')
		if long = long || len(text)+len(part) > maxLine; !long {
			text = append(text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if !long && len(text) > 0 {
			f(text)
		}
		text, long = text[:0], false
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// is says whether one of the errors has this summary.
func (s *said) is(summary string) bool {
	for _, d := range s.errors {
		if strings.HasPrefix(d.Summary, summary) {
			return true
		}
	}
	return false
}

// class says what to do next about the errors.
func (s *said) class() error {
	switch {
	case s.is("Saved plan is stale"), s.is("Saved plan does not match"):
		return drivers.ErrStale
	case s.is("Error acquiring the state lock"):
		return drivers.ErrWaiting
	}
	for _, summary := range []string{
		"Invalid value for variable", "Invalid value for input variable", "No value for required variable", "Unsupported argument", "Unsupported attribute",
		"Unsupported block type", "Missing required argument", "Reference to undeclared", "Invalid reference", "Invalid resource type", "Instance cannot be destroyed",
		"Output refers to sensitive values", "Duplicate ",
	} {
		if s.is(summary) {
			return drivers.ErrPermanent
		}
	}
	return drivers.ErrRetryable
}

// error tells the errors, bounded, without what is secret.
func (s *said) error(hide *scrubber) error {
	if len(s.errors) == 0 {
		return nil
	}
	var all []string
	for _, d := range s.errors[:min(len(s.errors), 5)] {
		all = append(all, hide.scrub(d.String()))
	}
	if more := len(s.errors) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(all, "; "))
}

// String is for people: address, or file and line, what, and why.
func (d diagnostic) String() string {
	var b strings.Builder
	switch {
	case d.Address != "":
		b.WriteString(d.Address + ": ")
	case d.Range != nil:
		_, _ = fmt.Fprintf(&b, "%s:%d: ", d.Range.Filename, d.Range.Start.Line) // a Builder takes everything
	}
	b.WriteString(strings.TrimSuffix(d.Summary, "."))
	if detail := strings.Join(strings.Fields(d.Detail), " "); detail != "" {
		b.WriteString(": " + clip(detail))
	}
	return b.String()
}

// clip bounds what is repeated of a text.
func clip(s string) string { return driverkit.Clip(s, 600) }

// plainError is the end of a run that speaks no JSON, such as init.
func plainError(end ended, hide *scrubber) error {
	text := end.errs
	if len(bytes.TrimSpace(text)) == 0 {
		text = end.out
	}
	words := strings.Fields(strings.Map(func(r rune) rune {
		if strings.ContainsRune("│╷╵", r) {
			return ' '
		}
		return r
	}, hide.scrub(string(text))))
	said := clip(strings.TrimPrefix(strings.Join(words, " "), "Error: "))
	if said == "" {
		said = fmt.Sprintf("status %d, and nothing was said", end.code)
	}
	return errors.New(said)
}

// progress counts what an apply has done so far.
type progress struct{ done, total int }

var doing = map[string]string{"create": "creating", "update": "updating", "delete": "deleting", "read": "reading"}

// hear answers what there is to tell of a line; "" for nothing.
func (p *progress) hear(text []byte) string {
	var l line
	if json.Unmarshal(text, &l) != nil || l.Hook.Action == "read" {
		return ""
	}
	switch l.Type {
	case "apply_complete":
		p.done++
		return ""
	case "apply_start":
		what := doing[l.Hook.Action]
		if what == "" {
			what = l.Hook.Action
		}
		return fmt.Sprintf("%s: %s, %d of %d", clip(l.Hook.Resource.Addr), what, min(p.done+1, max(p.total, 1)), max(p.total, 1))
	default:
		return ""
	}
}
