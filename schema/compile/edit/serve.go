package edit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// Service is the name of this package's service in workers; see NewHandler.
const Service = "edit"

// NewHandler makes the handler that edits files.
func NewHandler() worker.Handler { return handler{} }

// request is a file in which something may be declared.
type request struct {
	File File      `json:"file"`
	ID   schema.ID `json:"id"`
	Sets []Set     `json:"sets"`
}

// answer is what became of it.
type answer struct {
	Edited *Edited `json:"edited,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

type handler struct{}

// Setup takes nothing.
func (handler) Setup([]byte) error { return nil }

// Handle edits one file.
func (handler) Handle(item []byte) any {
	var r request
	if err := json.Unmarshal(item, &r); err != nil {
		return answer{Error: refuse(0, "", "this file cannot be read: %s", err)}
	}
	got, err := Apply([]File{r.File}, r.ID, r.Sets)
	if err == nil {
		return answer{Edited: &got}
	}
	e, ok := err.(*Error)
	if !ok {
		e = refuse(0, "", "%s", err)
	}
	return answer{Error: e}
}

// In finds the declaration of id in a tree of declarations, and sets what is
// wanted in its file, in a worker. It writes nothing.
func In(ctx context.Context, pool *worker.Pool, fsys fs.FS, id schema.ID, sets []Set) (Edited, error) {
	l, err := compile.List(ctx, fsys)
	if err != nil {
		return Edited{}, err
	}
	if len(l.Findings) > 0 {
		d := l.Findings[0]
		return Edited{}, &Error{File: d.Pos.File, Line: d.Pos.Line, Msg: d.Message, Help: d.Hint}
	}
	var files []string
	var items []worker.Item
	for _, name := range l.Files {
		data, err := read(fsys, name)
		if err != nil {
			return Edited{}, err
		}
		if !MayDeclare(data, id) {
			continue
		}
		item, err := json.Marshal(request{File{name, data}, id, sets})
		if err != nil {
			return Edited{}, err
		}
		files, items = append(files, name), append(items, worker.Item{Name: name, Data: item})
	}
	answers := make([]answer, len(items))
	err = pool.Run(ctx, worker.Job{
		Service: Service, Items: items,
		Done: func(i int, raw []byte) error {
			if err := json.Unmarshal(raw, &answers[i]); err != nil {
				return fmt.Errorf("a worker's answer about %s: %w", files[i], err)
			}
			return nil
		},
		Blame: func(i int, why string) {
			answers[i].Error = &Error{File: files[i], Msg: "editing it " + why, Help: "split the file up"}
		},
	})
	if err != nil {
		return Edited{}, fmt.Errorf("edit the declarations: %w", err)
	}
	return one(answers, files, id)
}

// one is the answer of the only file that declares id.
func one(answers []answer, files []string, id schema.ID) (Edited, error) {
	answers = slices.DeleteFunc(answers, func(a answer) bool { return a.Error != nil && a.Error.Missing })
	if i := slices.IndexFunc(answers, func(a answer) bool { return a.Error != nil }); i >= 0 {
		return Edited{}, answers[i].Error
	}
	switch {
	case len(answers) == 0:
		return Edited{}, notFound(id)
	case len(answers) > 1:
		first, second := answers[0].Edited.Pos, answers[1].Edited.Pos
		return Edited{}, twice(id, second.File, second.Line, first.File, first.Line)
	case answers[0].Edited == nil:
		return Edited{}, fmt.Errorf("a worker did not answer about %s", files[0])
	}
	return *answers[0].Edited, nil
}

func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, compile.DefaultFileBytes+1))
	if err == nil && len(data) > compile.DefaultFileBytes {
		err = &Error{File: name, Msg: fmt.Sprintf("it is larger than %d MiB", compile.DefaultFileBytes>>20)}
	}
	return data, err
}
