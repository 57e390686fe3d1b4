// Package api serves one environment over HTTP, JSON and server-sent events on
// a unix socket, and speaks to such a server: Server puts a
// reconciler.Control on the socket, Client is a reconciler.Control again, so
// that whoever uses one need not know whether a daemon answers or the data
// folder was opened in the same process.
//
// Who may connect is decided by the file system: the socket is 0600 in a
// folder of mode 0700 (see RuntimeDir). The routes and shapes are stable and
// stand in docs/api.md.
//
// It must not know any concrete driver or source, nor how anything looks on a
// screen.
package api
