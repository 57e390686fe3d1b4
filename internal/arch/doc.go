// Package arch holds the rules of the house as tests: what may import what and
// why, what must be documented, how long a function may be, and the habits
// that no compiler checks. It reads the module's files as text and syntax; it
// must not import any of its packages, so that it runs, and says what is
// wrong, also where they do not compile.
//
// Every rule is a function from a tree of files to findings. Its test runs it
// twice: on a small tree that breaks it, which must give the findings written
// there, and on the module, which must give none.
package arch
