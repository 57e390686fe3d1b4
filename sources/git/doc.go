// Package git follows one branch or tag of a Git repository and writes reports
// to another branch of it. It must not know how declarations are read, what is
// done with them, nor how often anybody looks.
//
// A local repository is opened in place and read only. One on a server is
// mirrored into a bare repository: one branch, whole history, no work tree. A
// snapshot reads the objects of a commit; nothing is ever checked out, no hook,
// filter or configured command is ever run.
//
// In reading order: Config and Source, Head and Fetch, the rule about history
// (follow.go), the tree of a commit as an fs.FS (tree.go), the store of objects
// (store.go), who signed (sign.go), the wire (wire.go, https.go, ssh.go), Reporter.
package git
