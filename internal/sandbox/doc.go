// Package sandbox runs programs that nobody vouches for, such as what a proposal
// wants to have planned: in namespaces of their own, where nothing of this
// machine is seen but what is named, read-only; as another user; without any
// capability; with no network but a proxy to the hosts that are named; within
// limits. Where the kernel does not give all of it nothing is run.
//
// It starts this very binary, so that no other program is needed: whoever uses
// it hands the arguments after Command to Main. It must not know what is run.
//
// # How it goes
//
// Run, in the caller's process, starts the first stage in new namespaces: user,
// mount, pid, network, ipc and uts (run_linux.go). That builds a root of its own,
// leaves the old one, drops what it may do and becomes the second stage
// (outer_linux.go, tree_linux.go, drop_linux.go). The second stage may do nothing
// any more: it writes the files that were handed over, runs one step after
// another, and is the first process of its pid namespace, so that all ends with
// it (inner_linux.go). It ends when the process that called Run does.
//
// Everything that comes out of it is somebody else's bytes.
package sandbox
