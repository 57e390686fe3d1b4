package git

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/outbound"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]string{
		"/srv/fleet":                      "/srv/fleet",
		"file:///srv/fleet":               "/srv/fleet",
		"https://git.example.org/a.git":   "https://git.example.org/a.git",
		"https://git.example.org:8443/a":  "https://git.example.org:8443/a",
		"https://ana@git.example.org/a":   "https://git.example.org/a",
		"https://[::1]:8443/a":            "https://[::1]:8443/a",
		"http://127.0.0.1:3000/a":         "http://127.0.0.1:3000/a",
		"git@git.example.org:team/a.git":  "git@git.example.org:team/a.git",
		"git.example.org:a.git":           "git@git.example.org:a.git",
		"ssh://ana@git.example.org:22/a":  "ssh://ana@git.example.org:22/a",
		"ssh://git@[2001:db8::1]/a":       "ssh://git@[2001:db8::1]/a",
		"ssh://git@git.example.org/~ana/": "git@git.example.org:~ana/",
	} {
		l, err := parseURL(raw)
		if err != nil || l.String() != want {
			t.Errorf("%s: %s, %v; want %s", raw, l, err, want)
		}
	}
	for _, raw := range []string{
		"", "-uevil", "--upload-pack=evil", "ext::sh -c evil", "::x", "transport::address", "git://example.org/a", "ftp://example.org/a",
		"https://ana:secret@example.org/a", "https://example.org", "https:///a", "https://-oProxyCommand=x/a", "https://example.org/a?b=c",
		"https://example.org/a#b", "http://example.org/a", "https://example.org:0/a", "https://example.org:99999/a",
		"ssh://-oProxyCommand=evil/a", "-oProxyCommand=evil:a", "git@-evil:a", "git@example.org:-a", "ssh://-x@example.org/a",
		"ssh://git@example.org/", "file://example.org/a", "file://relative", "https://example.org/a\nb", "/a\x00b", "https://example.org/%0aevil",
	} {
		if l, err := parseURL(raw); err == nil {
			t.Errorf("%q was taken as %v", raw, l)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error repeats the password: %v", raw, err)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	key := Auth{KeyFile: "k"}
	for name, cfg := range map[string]Config{
		"branch and tag":       {URL: "/a", Branch: "main", Tag: "v1"},
		"no folder":            {URL: "https://example.org/a"},
		"option as branch":     {URL: "/a", Branch: "--force"},
		"a path as branch":     {URL: "/a", Branch: "../x"},
		"reflog":               {URL: "/a", Branch: "main@{1}"},
		"full name":            {URL: "/a", Branch: "refs/heads/main"},
		"lock":                 {URL: "/a", Branch: "main.lock"},
		"path outside":         {URL: "/a", Path: "../x"},
		"absolute path":        {URL: "/a", Path: "/x"},
		"unclean path":         {URL: "/a", Path: "x/../y"},
		"token for ssh":        {URL: "git@example.org:a", Dir: "d", Auth: Auth{TokenFile: "t", KeyFile: "k"}},
		"key for https":        {URL: "https://example.org/a", Dir: "d", Auth: key},
		"key for a folder":     {URL: "/a", Auth: key},
		"nobody over ssh":      {URL: "git@example.org:a", Dir: "d"},
		"key and agent":        {URL: "git@example.org:a", Dir: "d", Auth: Auth{KeyFile: "k", Agent: true}},
		"token over plain":     {URL: "http://127.0.0.1/a", Dir: "d", Auth: Auth{TokenFile: "t"}},
		"user over plain http": {URL: "http://ana@127.0.0.1/a", Dir: "d"},
	} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"/srv/a", "file:///a", "https://u@h:1/p", "ssh://u@h/~p", "u@h:p", "ext::sh -c x", "-x", "https://u:p@h/x", "[::1]:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := parseURL(raw)
		if err != nil {
			return
		}
		if strings.HasPrefix(l.host, "-") || strings.HasPrefix(l.user, "-") || hasControl(l.String()) {
			t.Fatalf("%q gives %+v", raw, l)
		}
		switch l.kind {
		case local:
			if !filepath.IsAbs(l.path) {
				t.Fatalf("%q gives a relative path %q", raw, l.path)
			}
		case overSSH:
			if l.host == "" || l.user == "" || strings.HasPrefix(l.path, "-") {
				t.Fatalf("%q gives %+v", raw, l)
			}
		case overHTTP:
			if l.scheme != "https" && !outbound.Loopback(l.host) || l.host == "" {
				t.Fatalf("%q gives %+v", raw, l)
			}
		}
		if l.kind != overHTTP || l.user == "" { // a user is not shown
			again, err := parseURL(l.String())
			if err != nil && l.kind != local {
				t.Fatalf("%q is shown as %q, which is refused: %v", raw, l, err)
			}
			if err == nil && again.kind != l.kind {
				t.Fatalf("%q is shown as %q, which is something else", raw, l)
			}
		}
	})
}

func FuzzRefAndPath(f *testing.F) {
	for _, s := range []string{"main", "a/b", "--x", "a..b", "x.lock", "@", "envs/prod", "../x", "a//b", "a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkRefName(s) == nil {
			full := "refs/heads/" + s
			if !fs.ValidPath(full) || strings.HasPrefix(s, "-") || strings.Contains(s, "\\") || hasControl(s) {
				t.Fatalf("%q was taken for a name", s)
			}
			if !filepath.IsLocal(filepath.FromSlash(full)) {
				t.Fatalf("%q leaves the repository", s)
			}
		}
		if checkPath(s) == nil && s != "" && !filepath.IsLocal(filepath.FromSlash(s)) {
			t.Fatalf("%q leaves the tree", s)
		}
	})
}
