package webhook

import (
	"encoding/json"
	"net/url"
	"strings"
)

// repository is where the repository of a call lies, in all the ways that the
// forges say it; none where the body is not of their form.
func repository(body []byte) []string {
	var event struct {
		Repository struct { // GitHub, Gitea; of GitLab's the pages are enough
			CloneURL string `json:"clone_url"`
			SSHURL   string `json:"ssh_url"`
			HTMLURL  string `json:"html_url"`
		} `json:"repository"`
		Project struct { // GitLab
			HTTP string `json:"git_http_url"`
			SSH  string `json:"git_ssh_url"`
			Web  string `json:"web_url"`
		} `json:"project"`
	}
	if json.Unmarshal(body, &event) != nil {
		return nil
	}
	var all []string
	for _, at := range []string{
		event.Repository.CloneURL, event.Repository.SSHURL, event.Repository.HTMLURL,
		event.Project.HTTP, event.Project.SSH, event.Project.Web,
	} {
		if at != "" {
			all = append(all, at)
		}
	}
	return all
}

// maxAddress bounds what is taken for an address.
const maxAddress = 2048

// address is what addresses of one repository have in common: host and path, in
// small letters, without user, scheme, port and ending. Empty: it is none.
//
// Ports are left out since a forge serves Git over ssh and https on different
// ones. Two forges on one host by port alone share a repository's name then,
// which costs a look.
func address(text string) string {
	if text == "" || len(text) > maxAddress {
		return ""
	}
	if !strings.Contains(text, "://") {
		// The short form of ssh: user@host:path.
		host, path, ok := strings.Cut(text, ":")
		if !ok || strings.Contains(host, "/") {
			return ""
		}
		text = "ssh://" + host + "/" + strings.TrimLeft(path, "/")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	path := strings.TrimRight(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	if path == "" {
		return ""
	}
	return strings.ToLower(u.Hostname() + "/" + path)
}
