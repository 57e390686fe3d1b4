package compile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// Service is the name of this package's service in workers; see NewHandler.
const Service = "compile"

// NewHandler makes the handler that checks files.
func NewHandler() worker.Handler { return &handler{} }

// handlerSetup is what inputs share.
type handlerSetup struct {
	Limits    Limits         `json:"limits"`
	Templates *templateSetup `json:"templates,omitempty"` // of uses
}

// handler checks one input after another.
type handler struct {
	checker   *checker
	setup     handlerSetup
	templates *templates // of setup; nil until a use wants them
}

// Setup takes the limits, and the templates that uses want.
func (h *handler) Setup(setup []byte) error {
	h.setup, h.templates = handlerSetup{}, nil
	if err := json.Unmarshal(setup, &h.setup); err != nil {
		return err
	}
	if h.checker != nil {
		h.checker.limits = h.setup.Limits
		return nil
	}
	c, err := newChecker(h.setup.Limits)
	h.checker = c
	return err
}

// Handle answers the fileResult of an input.
func (h *handler) Handle(item []byte) any {
	var in input
	if err := json.Unmarshal(item, &in); err != nil {
		return failed("", fmt.Sprintf("this file cannot be read: %s", err))
	}
	if h.setup.Templates == nil {
		return h.checker.check(in)
	}
	h.checker.fresh()
	if h.templates == nil || h.templates.used >= recycleUses {
		h.templates = newTemplates(*h.setup.Templates, h.setup.Limits, h.checker.kinds)
	}
	h.templates.used++
	if in.Use == nil {
		return fileResult{Findings: h.templates.findings, Templates: h.templates.all()}
	}
	return h.templates.unfold(h.checker, in.Use)
}

// run checks inputs, which share setup, in the workers. done is called once for each, from several
// goroutines at once; keep says whether the result depends on the file alone.
func (c *Compiler) run(ctx context.Context, setup []byte, inputs []input, done func(i int, r fileResult, keep bool)) error {
	items := make([]worker.Item, len(inputs))
	for i, in := range inputs {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		items[i] = worker.Item{Name: in.Path, Data: data}
	}
	return c.options.Workers.Run(ctx, worker.Job{
		Service: Service, Setup: setup, Items: items,
		Done: func(i int, answer []byte) error {
			var r fileResult
			if err := json.Unmarshal(answer, &r); err != nil {
				return fmt.Errorf("a worker's answer about %s: %w", inputs[i].Path, err)
			}
			done(i, r, true)
			return nil
		},
		Blame: func(i int, why string) {
			if u := inputs[i].Use; u != nil {
				done(i, u.blamed(why), false)
				return
			}
			done(i, failed(inputs[i].Path, "checking it "+why), false)
		},
	})
}

// failed is the result of a file that could not be checked.
func failed(name, message string) fileResult {
	return fileResult{Broken: []fragment{{}}, Findings: []schema.Diagnostic{{
		Pos: schema.Pos{File: name, Line: 1, Col: 1}, Message: message, Hint: "split the file up",
	}}}
}

// silent is the logger of those who gave none.
func silent() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}
