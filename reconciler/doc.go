// Package reconciler drives one environment until live equals declared, and
// keeps it so. This page is the guided tour, in reading order.
//
// # One change, one straight line
//
// Everything begins with a nudge that has no payload: a push, a tick, a
// driver that heard something, a call that ended, a person. What is to be done
// is found by looking, never by remembering what the nudge was about.
//
//	step_fetch.go    the tip of the source -> a snapshot -> resources -> an order
//	                 (schema/compile, reconciler/graph). Any finding: nothing is
//	                 planned, nothing is pruned, what was in force stays so.
//	declare.go       the order -> nodes. A node is one thing at one address, so
//	                 that a rename is a look-up and a changed address is two nodes.
//	turn.go          Turn: the World -> a Decision. Pure: it makes no call.
//	step_observe.go  what to look at, and what may be touched at all
//	step_plan.go     what to ask drivers, when a cached answer still holds
//	                 (reconciler/plan: resolve, digest, Covers)
//	step_gate.go     who must agree first, and when (reconciler/gate)
//	step_putback.go  what is held drifts: back to what was applied last
//	step_apply.go    the frontier: intents, and what the end of a call means
//	step_verify.go   planning gives no change, and it is healthy: converged
//	step_prune.go    what is no longer declared goes last, in reverse
//	step_report.go   the outcome, back to the repository
//
// # Around a turn
//
// core.go puts the ends of calls into the World, makes durable what must be
// before a call may start (reconciler/store), and answers the calls to make.
// It has no goroutines: the tests drive it from a seed and kill it between any
// two steps. reconciler.go is the runner: it makes the calls beside each other
// and never waits inside a turn.
//
// # What people see and can do
//
// view.go has the words, status.go tells what is news, views.go and explain.go
// answer questions, levers.go is what a person can pull. Control is all of it
// as one interface, which the API serves.
//
// The package knows no engine, no CUE and no screen.
package reconciler
