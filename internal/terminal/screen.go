package terminal

import (
	"bytes"
	"fmt"
	"io"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// Screen shows one status after the other: in place on a terminal, below each
// other in a pipe.
type Screen struct {
	p     *Printer
	lines int // of what stands there
}

// Screen begins below what was written.
func (p *Printer) Screen() *Screen { return &Screen{p: p} }

// Status shows s instead of what was shown before.
func (s *Screen) Status(st reconciler.Status, all bool) {
	p := s.p
	if !p.Terminal {
		p.Status(st, all)
		return
	}
	if p.Size != nil {
		if w, h, ok := p.Size(); ok {
			p.Width, p.Height = w, h
		}
	}
	var b bytes.Buffer
	q := *p
	q.Out = &b
	q.Status(st, all)
	text := b.Bytes()
	if n := bytes.Count(text, []byte("\n")); p.Height > 1 && n >= p.Height {
		text = firstLines(text, p.Height-1)
	}
	if p.err != nil {
		return
	}
	if s.lines > 0 {
		_, p.err = fmt.Fprintf(p.Out, "\x1b[%dA\x1b[J", s.lines)
	}
	s.lines = bytes.Count(text, []byte("\n"))
	if p.err == nil {
		_, p.err = p.Out.Write(text)
	}
}

func firstLines(text []byte, n int) []byte {
	at := 0
	for range n {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return text
		}
		at += i + 1
	}
	return text[:at]
}

// Ask writes a question and leaves the cursor behind it.
func (p *Printer) Ask(question string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.Out, Clean(question))
	}
}

// LogWriter copies what a process wrote to a terminal without what moves its
// cursor.
func LogWriter(out io.Writer) io.Writer { return &logWriter{out: out} }

type logWriter struct {
	out  io.Writer
	part []byte // the beginning of a character that is not whole yet
}

// Write holds back at most the bytes of one character.
func (w *logWriter) Write(b []byte) (int, error) {
	text := append(w.part, b...)
	whole := wholeRunes(text)
	w.part = append([]byte(nil), text[whole:]...)
	if _, err := w.out.Write(CleanLog(text[:whole])); err != nil {
		return 0, err
	}
	return len(b), nil
}
