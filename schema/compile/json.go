package compile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
)

// parseJSON reads every value of a file, one after another; false if it does
// not parse to its end.
func (b *builder) parseJSON(data []byte) (docs []parsed, whole bool) {
	j := jsonReader{builder: b, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	j.dec.UseNumber()
	for i, c := range data {
		if c == '\n' {
			j.lines = append(j.lines, i)
		}
	}
	for {
		from := len(b.findings)
		tok, line, col, err := j.token()
		if err == io.EOF {
			return docs, true
		}
		v, err := j.read(tok, line, col, err, 1)
		if err != nil {
			return docs, false
		}
		if v.kind != nullValue {
			docs = append(docs, parsed{v, from, len(b.findings)})
		}
	}
}

// jsonReader makes values of a file's tokens.
type jsonReader struct {
	*builder
	data  []byte
	dec   *json.Decoder
	lines []int // offsets of line ends
}

var errJSON = errors.New("reported already")

// token is the next token with the place where it begins.
func (j *jsonReader) token() (tok json.Token, line, col int, err error) {
	at := int(j.dec.InputOffset())
	for at < len(j.data) && strings.IndexByte(" \t\r\n,:", j.data[at]) >= 0 {
		at++
	}
	line, col = j.place(at)
	tok, err = j.dec.Token()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line, col = j.place(max(int(syntax.Offset)-1, at))
	}
	return tok, line, col, err
}

func (j *jsonReader) place(at int) (line, col int) {
	n := sort.SearchInts(j.lines, at)
	if n == 0 {
		return 1, at + 1
	}
	return n + 1, at - j.lines[n-1]
}

// read makes a value of a token and what follows it. The error is errJSON once
// reading cannot go on.
func (j *jsonReader) read(tok json.Token, line, col int, err error, depth int) (*value, error) {
	if err != nil {
		j.report(line, col, "", "not JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
		return nil, errJSON
	}
	if j.deep(depth, line, col) {
		return nil, errJSON
	}
	v := &value{line: line, col: col, nodes: 1, height: 1}
	switch t := tok.(type) {
	case json.Delim:
		return j.composite(v, t, depth)
	case string:
		v.kind, v.text = stringValue, t
	case bool:
		v.kind, v.text = boolValue, strconv.FormatBool(t)
	case json.Number:
		v.raw = t.String()
		var ok bool
		if v.kind, v.text, ok = jsonNumber(v.raw); !ok {
			j.report(line, col, "quote it if it is to be a string", "%s is not a number that fits into 64 bits", shorten(v.raw))
			return broken(line, col), nil
		}
	default:
		v.kind, v.text = nullValue, "null"
	}
	v.bytes = len(v.text)
	return v, nil
}

func (j *jsonReader) composite(v *value, open json.Delim, depth int) (*value, error) {
	v.kind = listValue
	if open == '{' {
		v.kind = mapValue
	}
	for {
		tok, line, col, err := j.token()
		if end, is := tok.(json.Delim); is && (end == '}' || end == ']') {
			break
		}
		if v.kind == mapValue && err == nil {
			name, _ := tok.(string)
			v.keys = append(v.keys, key{name: name, line: line, col: col})
			tok, line, col, err = j.token()
		}
		item, err := j.read(tok, line, col, err, depth+1)
		if err != nil {
			return nil, err
		}
		v.items = append(v.items, item)
	}
	if v.kind == mapValue {
		j.distinct(v)
	}
	return j.weigh(v), nil
}

func jsonNumber(s string) (valueKind, string, bool) {
	if !strings.ContainsAny(s, ".eE") {
		i, err := strconv.ParseInt(s, 10, 64)
		return intValue, strconv.FormatInt(i, 10), err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return floatValue, "", false
	}
	text, ok := formatFloat(f)
	return floatValue, text, ok
}

// formatFloat is a float as JSON has it, marked as a float by a point or an
// exponent.
func formatFloat(f float64) (string, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return "", false
	}
	b, err := json.Marshal(f)
	if err != nil {
		return "", false
	}
	if !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return string(b), true
}
