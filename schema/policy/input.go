package policy

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// mostFileText is how much of the files of one resource policies see, in bytes:
// what lies beyond is left out, has no text, and is listed as unread.
const mostFileText = 1 << 20

// resourceInput is a resource as policies see it: the declaration, with the
// schema's defaults filled in and references as text, and what is known of it.
type resourceInput struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadataInput     `json:"metadata"`
	Spec       json.RawMessage   `json:"spec"`
	Data       bool              `json:"data"` // it holds data
	File       string            `json:"file"`
	Use        *useInput         `json:"use,omitempty"`
	Files      map[string]string `json:"files,omitempty"`
	Unread     []string          `json:"unread,omitempty"` // of files, those that did not fit
	Suspects   []Suspect         `json:"suspects,omitempty"`
}

type metadataInput struct {
	Name    string            `json:"name"`
	Target  string            `json:"target,omitempty"`
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
	Needs   []string          `json:"needs"`
	Hold    []schema.Action   `json:"hold"`
	Adopt   bool              `json:"adopt"`
}

// labelsInput is what a policy sees that needs no more than labels.
type labelsInput struct {
	Resource struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	} `json:"resource"`
	Environment string `json:"environment"`
}

type useInput struct {
	Template string `json:"template"`
	Version  string `json:"version,omitempty"`
	Name     string `json:"name"`
}

// inputOf is r as policies see it.
func inputOf(r *schema.Resource, files bool, suspects []Suspect) resourceInput {
	in := resourceInput{APIVersion: schema.APIVersion, Kind: r.ID.Kind, Spec: r.Spec, Data: r.Data, File: r.Pos.File, Suspects: suspects}
	in.Metadata = metadataInput{Name: r.ID.Name, Target: r.ID.Target, Targets: r.Targets, Labels: r.Labels, Hold: r.Hold, Adopt: r.Adopt, Needs: []string{}}
	if in.Metadata.Targets == nil {
		in.Metadata.Targets = []string{}
	}
	if in.Metadata.Labels == nil {
		in.Metadata.Labels = map[string]string{}
	}
	if in.Metadata.Hold == nil {
		in.Metadata.Hold = []schema.Action{}
	}
	for _, n := range r.Needs {
		in.Metadata.Needs = append(in.Metadata.Needs, n.ID.String())
	}
	if r.Use != nil {
		in.Use = &useInput{Template: r.Use.Template, Version: r.Use.Version, Name: r.Use.Name}
	}
	if files {
		in.Files, in.Unread = textsOf(r.Files)
	}
	return in
}

// textsOf are the texts of files, within bounds, and the names of those that are
// not. Bytes that are no UTF-8 are replaced: one of them hides nothing else.
func textsOf(t schema.Tree) (texts map[string]string, unread []string) {
	texts = make(map[string]string, len(t))
	left := mostFileText
	for _, f := range t {
		text := ""
		if len(f.Data) <= left {
			text = strings.ToValidUTF8(string(f.Data), "\ufffd")
		}
		if len(f.Data) > left || len(text) > left {
			text, unread = "", append(unread, f.Path)
		}
		texts[f.Path] = text
		left -= len(text)
	}
	return texts, unread
}

// encode is JSON without HTML escaping, as everything else here is.
func encode(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}
