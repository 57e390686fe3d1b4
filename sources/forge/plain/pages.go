package plain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Files of an environment's pages.
const (
	pageEnd      = ".md"
	statusesFile = "statuses.json"
)

// mostStatuses bounds how many statuses are kept; of more, the oldest go.
const mostStatuses = 200

// file is the page of a proposal. No folder has a file's name: branches can be
// called so.
func file(id string) string {
	return strings.NewReplacer("%", "%25", pageEnd+"/", "%2Emd/", ".json/", "%2Ejson/").Replace(id) + pageEnd
}

// Comment implements forge.Forge: a part of the proposal's page.
func (p *Plain) Comment(ctx context.Context, of forge.Proposal, key, body string) error {
	text, err := forge.Compose(key, escaped(body), p.Limits().Comment)
	if err == nil {
		err = p.cfg.Pages.Revise(ctx, p.cfg.Environment, p.cfg.Environment+": "+key+" of "+of.ID, func(files map[string][]byte) error {
			parts := parse(files[file(of.ID)])
			parts.put(key, text)
			files[file(of.ID)] = parts.page(of)
			return nil
		})
	}
	if err != nil {
		return p.fail("write the page of "+of.ID+" in", err)
	}
	return nil
}

// markRE is a line that begins a part.
var markRE = regexp.MustCompile(`^<!-- aplomb:([a-z0-9_/][a-z0-9._/-]{0,99}) -->$`)

// escaped keeps a body from beginning another part.
func escaped(body string) string {
	return strings.ReplaceAll(body, "<!-- aplomb:", "<!-- aplomb :")
}

// part is what is said of a proposal under one key, with its mark.
type part struct{ key, text string }

type parts []part

// parse takes a page apart; what stands before the first part is made anew.
func parse(page []byte) parts {
	var all parts
	for line := range strings.Lines(string(page)) {
		if m := markRE.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			all = append(all, part{key: m[1]})
		}
		if n := len(all); n > 0 {
			all[n-1].text += line
		}
	}
	for i := range all {
		all[i].text = strings.TrimRight(all[i].text, " \t\r\n")
	}
	return all
}

// put replaces a part in its place, or adds it. It is the only one of its key.
func (all *parts) put(key, text string) {
	now := part{key, strings.TrimRight(text, " \t\r\n")}
	of := func(o part) bool { return o.key == key }
	i := slices.IndexFunc(*all, of)
	if i < 0 {
		i = len(*all)
	}
	*all = slices.Insert(slices.DeleteFunc(*all, of), i, now)
}

// page is the whole page: nothing stands behind the parts, which would become
// one of them. What comes from the repository is text in it.
func (all parts) page(of forge.Proposal) []byte {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "# %s\n\n", forge.Code(of.ID))
	switch {
	case of.Head == "":
	case known(of.Author):
		_, _ = fmt.Fprintf(&b, "%s, signed by %s. To approve, somebody else signs the digest below, and pushes that tag:\n\n"+
			"    git tag -s -m 'aplomb approve DIGEST' %sNAME %s\n\n", forge.Code(of.Title), forge.Code(of.Author.Name), ApprovePrefix, of.Head)
	default:
		_, _ = fmt.Fprintf(&b, "%s at `%s`, signed by nobody of the list. Tags do not approve it: its author is not known, and could be who approves. "+
			"Somebody of the list may add a signed commit, and is the author then.\n\n", forge.Code(of.Title), of.Head)
	}
	for _, one := range all {
		b.WriteString(one.text + "\n\n")
	}
	return b.Bytes()
}

// said is one status, as it is kept: the newest last.
type said struct {
	Commit      string            `json:"commit"`
	Context     string            `json:"context"`
	State       forge.StatusState `json:"state"`
	Description string            `json:"description,omitempty"`
	URL         string            `json:"url,omitempty"`
}

// Status implements forge.Forge.
func (p *Plain) Status(ctx context.Context, commit string, s forge.Status) error {
	s = s.Fit(p.Limits())
	if _, err := p.cfg.Git.Commit(commit, nil); err != nil {
		return p.fail("set a status of "+commit+" in", err)
	}
	now := said{commit, s.Context, s.State, s.Description, s.URL}
	err := p.cfg.Pages.Revise(ctx, p.cfg.Environment, fmt.Sprintf("%s is %s: %s", s.Context, s.State, commit[:7]), func(files map[string][]byte) error {
		all := statuses(files[statusesFile])
		if slices.Contains(all, now) {
			return nil
		}
		all = slices.DeleteFunc(all, func(o said) bool { return o.Commit == commit && o.Context == now.Context })
		all = append(all, now)
		text, err := json.MarshalIndent(all[max(0, len(all)-mostStatuses):], "", "  ")
		files[statusesFile] = append(text, '\n')
		return err
	})
	if err != nil {
		return p.fail("set a status of "+commit+" in", err)
	}
	return nil
}

// statuses reads what is kept. What others have made of it is no loss.
func statuses(text []byte) []said {
	var all []said
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	return all
}

// Tidy removes the pages of proposals that are not open any more.
func (p *Plain) Tidy(ctx context.Context, open []forge.Proposal) error {
	keep := map[string]bool{statusesFile: true}
	for _, one := range open {
		keep[file(one.ID)] = true
	}
	files, err := p.cfg.Pages.Pages(ctx, p.cfg.Environment)
	if err == nil && stale(files, keep) {
		err = p.cfg.Pages.Revise(ctx, p.cfg.Environment, p.cfg.Environment+": proposals that are gone", func(files map[string][]byte) error {
			for name := range files {
				if !keep[name] {
					delete(files, name)
				}
			}
			return nil
		})
	}
	if err != nil && !errors.Is(err, sources.ErrGone) {
		return p.fail("remove pages of proposals that are gone from", err)
	}
	return nil
}

func stale(files map[string][]byte, keep map[string]bool) bool {
	for name := range files {
		if !keep[name] {
			return true
		}
	}
	return false
}
