// Package dir follows a plain folder: its content is the revision. It must not
// know how declarations are read, nor what is done with them.
//
// A revision is the hash of every name, mode and content below the folder. A
// snapshot is a copy in memory, so what was hashed is what is read, however
// often the folder changes meanwhile.
package dir
