package schema

import (
	"strconv"
	"strings"
)

// Path is a place inside a spec, an RFC 6901 JSON pointer: "" is the whole,
// "/group/web/count" a field, "/sources/0" an element. As a pointer it is a
// JSON object's key; String is what people read.
type Path string

// Child is the path of a field of p.
func (p Path) Child(key string) Path {
	if strings.ContainsAny(key, "~/") {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
	}
	return p + Path("/"+key)
}

// Index is the path of an element of p.
func (p Path) Index(i int) Path { return p + Path("/"+strconv.Itoa(i)) }

// Steps are the unescaped keys and indices, outermost first.
func (p Path) Steps() []string {
	if p == "" {
		return nil
	}
	steps := strings.Split(string(p[1:]), "/")
	for i, s := range steps {
		if strings.Contains(s, "~") {
			steps[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
		}
	}
	return steps
}

// Within says whether p is o or lies below it.
func (p Path) Within(o Path) bool {
	return p == o || strings.HasPrefix(string(p), string(o)+"/")
}

// String is the path for people: group.web.count, sources[0].name,
// env["a.b"]. What no field names, "/!NAME", is (NAME).
func (p Path) String() string {
	if name, ok := strings.CutPrefix(string(p), "/!"); ok {
		return "(" + name + ")"
	}
	var b strings.Builder
	for _, s := range p.Steps() {
		switch {
		case isIndex(s):
			b.WriteString("[" + s + "]")
		case isWord(s):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s)
		default:
			b.WriteString("[" + strconv.Quote(s) + "]")
		}
	}
	return b.String()
}

func isIndex(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

func isWord(s string) bool {
	for _, r := range s {
		if !isWordByte(r) {
			return false
		}
	}
	return s != ""
}

func isWordByte(r rune) bool {
	return r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}
