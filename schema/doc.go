// Package schema is the vocabulary that every other package speaks: resources
// and their identities, references between them, paths into their specs,
// positions in the user's files, findings, and values that must never print.
//
// It also carries the schemas themselves: one .cue file a kind, embedded, and
// kinds.json, which is generated from them, so that a program can know every
// kind without evaluating CUE. It must not know how declarations are read
// (schema/compile), which driver serves a kind, or what is done with them, and
// it imports the standard library only.
package schema
