package schema

import (
	"strconv"
	"strings"
)

// Lines says where the fields of a declaration stand, compactly: one line of
// text for each, in the order of the file, of its depth, how many lines below
// the declaration it stands, its column and its key. What stands in another
// file than the declaration is not there.
type Lines string

// Add appends a field at a depth; the fields of the declaration itself are at 0.
func (l Lines) Add(depth, line, col int, key string) Lines {
	if strings.ContainsAny(key, "\n\r") {
		return l
	}
	b := make([]byte, 0, len(key)+12)
	b = strconv.AppendInt(b, int64(depth), 10)
	b = strconv.AppendInt(append(b, ' '), int64(line), 10)
	b = strconv.AppendInt(append(b, ' '), int64(col), 10)
	b = append(append(append(b, ' '), key...), '\n')
	return l + Lines(b)
}

// At is where the field at a path of a declaration stands, or else the nearest
// that it lies in. base is where the declaration stands.
func (l Lines) At(base Pos, path Path) Pos {
	steps := path.Steps()
	at, found := base, 0
	for line := range strings.Lines(string(l)) {
		depth, rest := number(line)
		if depth < found {
			break // what the path leads into has ended
		}
		if depth > found || found == len(steps) {
			continue
		}
		row, rest := number(rest)
		col, key := number(rest)
		if strings.TrimSuffix(key, "\n") == steps[found] {
			at = Pos{File: base.File, Line: base.Line + row, Col: col}
			found++
		}
	}
	return at
}

// number reads a number and the space after it.
func number(s string) (n int, rest string) {
	word, rest, _ := strings.Cut(s, " ")
	n, _ = strconv.Atoi(word)
	return n, rest
}
