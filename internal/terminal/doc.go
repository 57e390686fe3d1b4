// Package terminal is the one writer for people: every screen of the command
// line, on a terminal and in a pipe. It knows the terminal's width, whether
// colour is wanted, and what a name or value from outside may do to a terminal
// (nothing: Clean). Colour only repeats what a rune or a word already says;
// nothing wraps in the middle of a value.
//
// It renders plain data and decides nothing: it must not know where the data
// came from, nor any flag or exit code.
package terminal
