// Package policy judges resources, changes and plans by policies in CUE.
//
// A Judge loads a tree of policies as a Set, whose policies say Violations of
// what it is shown. CUE is evaluated in worker processes only; a Set that does
// not load, a policy that fails and a worker that ended over one refuse what
// they would have judged: nothing passes unjudged. What is judged enters as
// data, so that nobody who can only write declarations gets an expression
// evaluated beside a policy.
//
// Read in this order: set.go (loading), match.go (which policy sees what),
// input.go (what it sees), judge.go (judging, with a cache), serve.go and
// evaluate.go and hcl.go (in the worker), scan.go, shapes.go and assign.go
// (what looks like a secret), cases.go (the cases beside policies). It must not
// know how declarations are read, nor what is done with a violation.
package policy
