// Package api serves the environments of a daemon over HTTP, JSON and
// server-sent events, and speaks to such a server: Server puts each one's
// reconciler.Control on its listeners, Client is a reconciler.Control again, so
// that whoever uses one need not know whether a daemon answers or the data
// folder was opened in the same process.
//
// On the unix socket the file system decides who may connect: the socket is
// 0600 in a folder of mode 0700 (see RuntimeDir), and the kernel says who it
// is. Over TCP a token does, and its role what they may do. The routes and
// shapes are stable and stand in docs/api.md.
//
// Read in this order: server.go (listeners, what is about the daemon),
// access.go (who asks, and what they may), environment.go (what is about one
// environment), levers.go, stream.go; then client.go, control.go, follow.go.
//
// It must not know any concrete driver or source, nor how anything looks on a
// screen.
package api
