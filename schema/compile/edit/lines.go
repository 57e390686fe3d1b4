package edit

import (
	"bytes"
	"unicode/utf8"
)

// text is a file as the parser counts its lines: besides the usual ends of
// lines, three characters of Unicode are some.
type text struct {
	data   []byte
	starts []int // offsets of lines
}

func newText(data []byte) text {
	t := text{data: data, starts: []int{0}}
	for i := 0; i < len(data); {
		n := breakAt(data[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		t.starts = append(t.starts, i)
	}
	return t
}

// breakAt is how long the end of a line at the beginning of data is; 0: there
// is none.
func breakAt(data []byte) int {
	switch {
	case bytes.HasPrefix(data, []byte("\r\n")):
		return 2
	case len(data) > 0 && (data[0] == '\n' || data[0] == '\r'):
		return 1
	case bytes.HasPrefix(data, []byte("\u0085")):
		return 2
	case bytes.HasPrefix(data, []byte("\u2028")), bytes.HasPrefix(data, []byte("\u2029")):
		return 3
	}
	return 0
}

// offset is where a place of the parser lies; -1: nowhere.
func (t text) offset(line, col int) int {
	if line < 1 || line > len(t.starts) || col < 1 {
		return -1
	}
	at := t.starts[line-1]
	for range col - 1 {
		if at >= len(t.data) || breakAt(t.data[at:]) > 0 {
			return -1
		}
		_, n := utf8.DecodeRune(t.data[at:])
		at += n
	}
	return at
}

// line is a line, counted from 1, without its end, and that end.
func (t text) line(n int) (content, end []byte) {
	from, to := t.starts[n-1], len(t.data)
	if n < len(t.starts) {
		to = t.starts[n]
	}
	all := t.data[from:to]
	for i := range all {
		if k := breakAt(all[i:]); k > 0 {
			return all[:i], all[i:]
		}
	}
	return all, nil
}

// eol is how lines end here.
func (t text) eol() string {
	if _, end := t.line(1); len(end) > 0 {
		return string(end)
	}
	return "\n"
}

// splice is the file with another text between two offsets.
func (t text) splice(from, to int, with string) []byte {
	out := make([]byte, 0, len(t.data)-(to-from)+len(with))
	out = append(out, t.data[:from]...)
	out = append(out, with...)
	return append(out, t.data[to:]...)
}

// blanks is the offset after spaces and tabs.
func (t text) blanks(at int) int {
	for at < len(t.data) && (t.data[at] == ' ' || t.data[at] == '\t') {
		at++
	}
	return at
}
