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
	Label    string                              // environment that events are of, where several tell theirs; "": none
	Now      func() time.Time                    // nil: time.Now
	Size     func() (width, height int, ok bool) // asked again while lines change in place; nil: Width and Height stay

	err     error
	said    said
	deleted int // resources, in what was told
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
func (p *Printer) Note(s string) { p.prose(4, text(s)) }

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

// flow writes cells like line, but what does not fit goes on in a further line
// after hang spaces, broken between cells only.
func (p *Printer) flow(hang int, cells ...cell) {
	if p.Width <= 0 {
		p.line(cells...)
		return
	}
	hang = min(hang, p.Width/2)
	var row []cell
	col := 0
	for _, c := range cells {
		w := cells1(strings.TrimRight(c.text, " "))
		if col+w > p.Width && col > hang {
			p.line(row...)
			row, col = []cell{{strings.Repeat(" ", hang), plain}}, hang
			c.text = strings.TrimLeft(c.text, " ")
		}
		row = append(row, c)
		col += cells1(c.text)
	}
	p.line(row...)
}

// words is a cell taken apart after its spaces.
func words(c cell) []cell {
	var all []cell
	start := 0
	for i := 1; i < len(c.text); i++ {
		if c.text[i-1] == ' ' && c.text[i] != ' ' {
			all = append(all, cell{c.text[start:i], c.style})
			start = i
		}
	}
	return append(all, cell{c.text[start:], c.style})
}

// prose is flow with every cell taken apart into words.
func (p *Printer) prose(hang int, cells ...cell) {
	var all []cell
	for _, c := range cells {
		all = append(all, words(c)...)
	}
	p.flow(hang, all...)
}

// narrowest is how many columns the last one of a table must have so that it
// goes on below itself; with less it goes on below the whole row.
const narrowest = 24

// table writes rows whose columns but the last are padded to the widest, with
// two spaces between; a column may take half of the terminal at most. Where
// the last one is prose it goes on in further lines.
func (p *Printer) table(indent int, rows [][]cell) { p.rows(indent, rows, false) }

func (p *Printer) rows(indent int, rows [][]cell, prose bool) {
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
	hang := indent
	for _, w := range widths {
		hang += w + 2
	}
	if p.Width-hang < narrowest {
		hang = indent + 4
	}
	for _, r := range rows {
		out := []cell{{strings.Repeat(" ", indent), plain}}
		for i, c := range r {
			if i < len(r)-1 {
				c.text = pad(clip(c.text, widths[i]), widths[i])
				out = append(out, c, cell{"  ", plain})
				continue
			}
			if prose {
				out = append(out, words(c)...)
			} else {
				out = append(out, c)
			}
		}
		if prose {
			p.flow(hang, out...)
		} else {
			p.line(out...)
		}
	}
}
