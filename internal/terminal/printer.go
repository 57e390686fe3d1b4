package terminal

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"
)

// Printer writes screens. Its fields are set before use and not changed after;
// it is not safe for concurrent use.
type Printer struct {
	Out      io.Writer
	Terminal bool                                // lines may change in place
	Width    int                                 // columns; 0: lines are as long as they are
	Height   int                                 // rows; 0: 24. Only what changes in place minds it
	Colour   bool                                // repeat runes and words in colour
	Now      func() time.Time                    // nil: time.Now
	Size     func() (width, height int, ok bool) // asked again while lines change in place; nil: Width and Height stay

	err error
}

// Detect is the Printer for out: a terminal is found out, its size and what
// the environment says of colour (NO_COLOR, TERM=dumb) are minded.
func Detect(out io.Writer, getenv func(string) string) *Printer {
	p := &Printer{Out: out}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	p.Width, p.Height = 80, 24
	p.Size = func() (int, int, bool) {
		w, h, err := term.GetSize(int(f.Fd()))
		return w, h, err == nil && w > 0 && h > 0
	}
	if w, h, ok := p.Size(); ok {
		p.Width, p.Height = w, h
	} else if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		p.Width = n
	}
	dumb := getenv("TERM") == "dumb"
	p.Terminal = !dumb
	p.Colour = !dumb && getenv("NO_COLOR") == ""
	return p
}

// Err is the first error of writing, or nil.
func (p *Printer) Err() error { return p.err }

func (p *Printer) now() time.Time {
	if p.Now != nil {
		return p.Now()
	}
	return time.Now()
}

// style is a colour that repeats what the text says.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "34"
)

// cell is a stretch of a line. Its text is clean already, or made so by text.
type cell struct {
	text  string
	style style
}

// text is a cell of something from outside.
func text(s string) cell { return cell{Clean(s), plain} }

func styled(s string, st style) cell { return cell{Clean(s), st} }

// line writes cells as one line, cut at the terminal's width.
func (p *Printer) line(cells ...cell) {
	if p.err != nil {
		return
	}
	_, p.err = io.WriteString(p.Out, p.render(cells)+"\n")
}

// blank writes an empty line.
func (p *Printer) blank() { p.line() }

// Note writes one line for people.
func (p *Printer) Note(s string) { p.line(text(s)) }

// render joins cells, cuts them at the width, colours them, and trims space at
// the end.
func (p *Printer) render(cells []cell) string {
	var b strings.Builder
	left := p.Width
	if left <= 0 {
		left = 1 << 30
	}
	total := 0
	for _, c := range cells {
		total += cells1(c.text)
	}
	last := len(cells)
	for last > 0 && strings.TrimRight(cells[last-1].text, " ") == "" {
		last--
	}
	for i, c := range cells[:last] {
		t := c.text
		if i == last-1 {
			t = strings.TrimRight(t, " ")
		}
		w := cells1(t)
		switch {
		case left <= 0:
			return b.String()
		case w > left || w == left && rest(cells[i+1:last]) > 0:
			t = clip(t+"  ", left)
			w = left
		}
		left -= w
		if p.Colour && c.style != plain && strings.TrimSpace(t) != "" {
			t = "\x1b[" + string(c.style) + "m" + t + "\x1b[0m"
		}
		b.WriteString(t)
	}
	return b.String()
}

func rest(cells []cell) int {
	n := 0
	for _, c := range cells {
		n += cells1(strings.TrimSpace(c.text))
	}
	return n
}

// table writes rows whose columns but the last are padded to the widest, with
// two spaces between; a column may take half of the terminal at most.
func (p *Printer) table(indent int, rows [][]cell) {
	var widths []int
	for _, r := range rows {
		for i, c := range r[:max(len(r)-1, 0)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			w := cells1(c.text)
			if p.Width > 0 {
				w = min(w, max(p.Width/2, 8))
			}
			widths[i] = max(widths[i], w)
		}
	}
	for _, r := range rows {
		out := []cell{{strings.Repeat(" ", indent), plain}}
		for i, c := range r {
			if i < len(r)-1 {
				c.text = pad(clip(c.text, widths[i]), widths[i])
				out = append(out, c, cell{"  ", plain})
				continue
			}
			out = append(out, c)
		}
		p.line(out...)
	}
}
