package forge

import (
	"net/url"
	"strings"
	"testing"
)

func TestFileURL(t *testing.T) {
	for _, c := range []struct {
		at, path string
		line     int
		want     string
	}{
		{"main", "prod/web.yaml", 0, "https://x/blob/main/prod/web.yaml"},
		{"main", "prod/web.yaml", 12, "https://x/blob/main/prod/web.yaml#L12"},
		{"a b", "ü](x) \"<b>|#?.yaml", 1, "https://x/blob/a%20b/%C3%BC%5D%28x%29%20%22%3Cb%3E%7C%23%3F.yaml#L1"},
	} {
		if got := FileURL("https://x/blob", c.at, c.path, c.line); got != c.want {
			t.Errorf("%q %q: %s", c.at, c.path, got)
		}
	}
	if !IsCommit(strings.Repeat("a1", 20)) || IsCommit(strings.Repeat("a1", 19)) || IsCommit("main") {
		t.Error("commits and branches are not told apart")
	}
}

// Whatever a file is called, its address is one of it, and holds nothing that
// ends a link.
func FuzzFileURL(f *testing.F) {
	for _, s := range []string{"prod/web.yaml", "a](b)", "..", "\x00", "ü\"'<>|`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := FileURL("https://x/blob", "main", path, 1)
		u, err := url.Parse(got)
		if err != nil || strings.ContainsAny(got, " ()[]<>\"'`|*@!\n\r") {
			t.Fatalf("%q: %s, %v", path, got, err)
		}
		if u.Path != "/blob/main/"+path || u.Fragment != "L1" || u.RawQuery != "" {
			t.Fatalf("%q became %q", path, u.Path)
		}
	})
}
