// Package cueload loads CUE packages out of a tree, offline and bounded: those
// of declarations, of templates and of policies.
//
// A Reader gathers, from the tree, a Bundle: the files of one package and of
// all that it imports. It parses no more of a file than its package clause and
// its imports, so it may run anywhere; a Bundle travels to a worker process,
// where Build evaluates it. What a Bundle holds is all that evaluating it can
// see, so its Sum stands for what it yields.
//
// The schemas of the kinds are there to import as aplomb.dev/schema and below,
// whether or not the tree has a cue.mod; see Module. Every other module must
// lie in the tree, vendored below cue.mod/pkg: nothing is ever fetched.
//
// It must not know what a package declares.
package cueload
