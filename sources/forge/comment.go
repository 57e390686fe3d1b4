package forge

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

var keyRE = regexp.MustCompile(`^[a-z0-9_/][a-z0-9._/-]{0,99}$`)

// mark is the hidden line by which a comment of ours is found again. An HTML
// comment that begins a document is shown by no forge.
func mark(key string) string { return "<!-- aplomb:" + key + " -->" }

// Compose is the text of the comment with a key: its mark, then the body, cut
// to limit bytes (0: never). Line ends are those of Unix.
func Compose(key, body string, limit int) (string, error) {
	if !keyRE.MatchString(key) {
		return "", &Error{Class: ErrRefused, Err: errors.New("a comment's key is 1 to 100 of a-z 0-9 . _ / -")}
	}
	text := mark(key) + "\n" + normal(body)
	if limit > 0 {
		text = Cut(text, limit)
	}
	return text, nil
}

// Marked says whether a comment begins with the mark of key. A mark anywhere
// else is quoted: from a declaration, or by somebody who replies.
func Marked(text, key string) bool {
	first, _, _ := strings.Cut(normal(text), "\n")
	return first == mark(key)
}

// Same says whether a forge that has one text would show nothing new for the
// other: they store ends of lines and of texts in their own ways.
func Same(a, b string) bool { return normal(a) == normal(b) }

// lineEnds are those of Unix. A carriage return by itself is one too: some forges
// make it one, and what they store has to be what was meant.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func normal(text string) string { return strings.TrimRight(lineEnds.Replace(text), " \t\n") }

// cutNote ends what was cut.
const cutNote = "\n\n*Cut here: this is more than a comment can hold.*"

// Cut shortens Markdown to limit bytes: at the end of a line, what was open
// closed again, with a note. A limit too small for the note cuts at a letter.
func Cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	room := limit - len(cutNote)
	for room > 0 {
		head := whole(text[:room])
		if i := strings.LastIndexByte(head, '\n'); i > 0 {
			head = head[:i]
		}
		closing := closings(head)
		if len(head)+len(closing)+len(cutNote) <= limit {
			return head + closing + cutNote
		}
		room = len(head) - 1
	}
	return whole(text[:max(limit, 0)])
}

// whole takes half a letter off the end.
func whole(s string) string {
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			return s
		}
		s = s[:len(s)-1]
	}
	return s
}

// closings ends the code block and the folded parts that a text leaves open.
func closings(text string) string {
	fence, details := "", 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
		case fence != "":
			if len(ticks) >= len(fence) && ticks == line {
				fence = ""
			}
		default:
			details += strings.Count(line, "<details>") - strings.Count(line, "</details>")
		}
	}
	out := ""
	if fence != "" {
		out = "\n" + fence
	}
	if details > 0 {
		out += "\n\n" + strings.Repeat("</details>", details)
	}
	return out
}

// Clip shortens one line to so many characters (0: never), and says so.
func Clip(s string, limit int) string {
	if limit <= 0 || utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return strings.TrimRight(string(runes[:limit-1]), " ") + "…"
}

// Fit is the status as a forge with limits can take it. Texts are trimmed as
// every forge trims them, so that what was written compares equal.
func (s Status) Fit(l Limits) Status {
	s.Context = Clip(strings.TrimSpace(s.Context), l.Context)
	s.Description = Clip(strings.Join(strings.Fields(s.Description), " "), l.Description)
	return s
}
