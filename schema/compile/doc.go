// Package compile turns a tree of declarations into checked resources: every
// YAML, JSON and CUE file below the root is read, each document is checked
// against the CUE schema of its kind, uses of templates are unfolded, defaults
// are filled in, references are found and their types and secrecy checked, and
// files that specs name are loaded. It answers either all resources or all
// findings, never some of both.
//
// Reading and checking what others wrote happens in a worker process (worker.go),
// which has a memory limit and a deadline and is killed on excess, since a CUE
// evaluation cannot be cancelled. What a file yielded is cached by its content
// (cache.go), so that the cost of a compile follows what changed.
//
// Read in this order: compile.go (the whole), tree.go (which files), yaml.go
// and json.go (text to values with positions), document.go (the envelope),
// spec.go (the schema), refs.go, model.go (what is known of a kind), serve.go. Of
// templates: use.go (a use in its file), usestage.go (the second stage),
// template.go and templatedef.go (what a template is), unfold.go and yield.go (a
// use on its way to resources), standin.go and standing.go (what stands in the
// place of needs on uses, and of references to them).
//
// This package and schema/policy are the only importers of CUE. It must not
// know which targets exist, what lives, or how resources depend on each other:
// that a referenced resource exists is the graph's to say.
package compile
