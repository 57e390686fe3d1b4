package git

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/internal/outbound"
)

type kind int

const (
	local kind = iota
	overHTTP
	overSSH
)

// location is a repository's address, taken apart and judged.
type location struct {
	kind   kind
	scheme string // https or http
	path   string // of a local repository: absolute
	user   string
	host   string // name or address, without brackets
	port   int    // 0: the scheme's own
}

// String is what people see. It never holds a password: parseURL refuses one.
func (l location) String() string {
	host := l.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if l.port != 0 {
		host += ":" + strconv.Itoa(l.port)
	}
	switch l.kind {
	case local:
		return l.path
	case overSSH:
		if l.port == 0 && !strings.HasPrefix(l.path, "/") {
			return l.user + "@" + host + ":" + l.path
		}
		return (&url.URL{Scheme: "ssh", User: url.User(l.user), Host: host, Path: "/" + strings.TrimPrefix(l.path, "/")}).String()
	}
	return l.scheme + "://" + host + l.path
}

var (
	helperURL = regexp.MustCompile(`^[A-Za-z0-9+.-]*::`)
	schemeURL = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	scpURL    = regexp.MustCompile(`^(?:([^@/:]+)@)?(\[[0-9A-Fa-f:.]+\]|[^:/]+):(.+)$`)
	hostName  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$`)
	userName  = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.+@-]{0,127}$`)
)

// parseURL takes apart what an operator wrote. Whatever could be read as an
// option or as a command is refused.
func parseURL(raw string) (location, error) {
	switch {
	case raw == "":
		return location{}, errors.New("the address is empty")
	case len(raw) > 4096:
		return location{}, errors.New("the address is longer than 4096 bytes")
	case hasControl(raw):
		return location{}, errors.New("the address holds a control character or is not UTF-8")
	case strings.HasPrefix(raw, "-"):
		return location{}, errors.New("the address looks like an option")
	case helperURL.MatchString(raw):
		return location{}, errors.New("remote helpers (`name::address`) are not followed")
	case schemeURL.MatchString(raw):
		return parseScheme(raw)
	}
	if m := scpURL.FindStringSubmatch(raw); m != nil {
		return sshLocation(m[1], strings.Trim(m[2], "[]"), 0, m[3])
	}
	abs, err := filepath.Abs(raw)
	if err != nil {
		return location{}, fmt.Errorf("address %q: %w", raw, err)
	}
	return location{kind: local, path: abs}, nil
}

func parseScheme(raw string) (location, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return location{}, errors.New("the address is not a URL") // the parser's own words repeat a password
	}
	if _, has := u.User.Password(); has {
		return location{}, withHint(errors.New("the address holds a password"), "put it into a file and name that as tokenFile")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return location{}, errors.New("the address holds a query or a fragment")
	}
	if hasControl(u.Path) {
		return location{}, errors.New("the address holds a control character")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.User != nil {
			return location{}, errors.New("a file address names another machine")
		}
		if !filepath.IsAbs(u.Path) {
			return location{}, errors.New("a file address needs an absolute path")
		}
		return location{kind: local, path: filepath.Clean(u.Path)}, nil
	case "https", "http":
		return httpLocation(u)
	case "ssh":
		port, err := portOf(u)
		if err != nil {
			return location{}, err
		}
		p := u.Path
		if strings.HasPrefix(p, "/~") {
			p = p[1:]
		}
		return sshLocation(u.User.Username(), u.Hostname(), port, p)
	}
	return location{}, fmt.Errorf("scheme %q is not one of file, https, ssh", u.Scheme)
}

func httpLocation(u *url.URL) (location, error) {
	port, err := portOf(u)
	if err != nil {
		return location{}, err
	}
	l := location{kind: overHTTP, scheme: u.Scheme, user: u.User.Username(), host: u.Hostname(), port: port, path: u.EscapedPath()}
	if err := checkHost(l.host); err != nil {
		return location{}, err
	}
	if u.User != nil && !userName.MatchString(l.user) {
		return location{}, errors.New("the user in the address is malformed")
	}
	if strings.Trim(l.path, "/") == "" {
		return location{}, errors.New("the address names no repository")
	}
	if u.Scheme == "http" && !outbound.Loopback(l.host) {
		return location{}, withHint(errors.New("plain http is followed to a loopback address only"), "use https")
	}
	return l, nil
}

func sshLocation(user, host string, port int, p string) (location, error) {
	if user == "" {
		user = "git"
	}
	switch {
	case !userName.MatchString(user):
		return location{}, errors.New("the user in the address is malformed")
	case strings.HasPrefix(p, "-"):
		return location{}, errors.New("the repository's path looks like an option")
	case strings.Trim(p, "/") == "":
		return location{}, errors.New("the address names no repository")
	}
	if err := checkHost(host); err != nil {
		return location{}, err
	}
	return location{kind: overSSH, user: user, host: host, port: port, path: p}, nil
}

func portOf(u *url.URL) (int, error) {
	if u.Port() == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("port %q is not one", u.Port())
	}
	return n, nil
}

func checkHost(host string) error {
	if net.ParseIP(host) == nil && !hostName.MatchString(host) {
		return errors.New("the host in the address is malformed")
	}
	return nil
}

// hasControl says whether s holds what no name should: control characters, or
// bytes that are not UTF-8.
func hasControl(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// checkRefName applies Git's own rules for the short name of a branch or tag.
func checkRefName(name string) error {
	bad := func(why string) error { return fmt.Errorf("%q is no name of a branch or tag: %s", name, why) }
	switch {
	case len(name) > 255:
		return bad("longer than 255 bytes")
	case strings.HasPrefix(name, "-"):
		return bad("starts with a dash")
	case strings.HasPrefix(name, "refs/"):
		return bad("give the short name")
	case hasControl(name) || strings.ContainsAny(name, ` ~^:?*[\`):
		return bad("holds a character that Git does not allow")
	case strings.Contains(name, "..") || strings.Contains(name, "@{") || name == "@" || name == "HEAD":
		return bad("means something else to Git")
	case strings.HasSuffix(name, "."):
		return bad("ends with a dot")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return bad("has an empty or reserved part")
		}
	}
	return nil
}

// checkPath wants a folder below the tree's root, in slash form.
func checkPath(p string) error {
	if p == "" {
		return nil
	}
	if clean := strings.TrimSuffix(p, "/"); !fs.ValidPath(clean) || path.Clean(clean) != clean || hasControl(clean) {
		return fmt.Errorf("path %q is not a relative path inside the repository", p)
	}
	return nil
}
