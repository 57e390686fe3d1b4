// Package edit changes single values of declarations in YAML and JSON, as a
// build pipeline does with a new image: what is not the value stays as it is, to
// the byte, with its comments, its quotes and its ends of lines.
//
// Places come from the parser of the compiler; what was changed is parsed again
// and compared with what was wanted, so that an edit that would do anything else
// is refused. It reads specs only: what a declaration is, and what a person's
// approval is wanted for, is not for pipelines to change.
//
// Read in this order: set.go (what is wanted), find.go (which document),
// edit.go (the whole), walk.go (to the place), scalar.go (a value as text), add.go
// (a field that is not there yet), lines.go (places as offsets), check.go (what
// came of it), serve.go (in a worker). It must not know schemas: whether a value
// is a good one is for the compiler to say.
package edit
