// Package local runs local.process: supervised processes on this machine, with
// nothing to install. Every instance is a run of internal/detached and
// outlives the daemon.
//
// The engine is a folder:
//
//	NAME/group.json                what was last applied, and whose it is
//	NAME/instances/0/000001/       a run of instance 0, its newest has the highest number
//	NAME/instances/0/output.log    what instance 0 wrote, over its runs
//	NAME/work                      the working folder, where none is declared
//	.trash/NAME/                   what is being deleted
//
// group.json is written before anything is started or stopped, the runs say
// what is really so, and Observe compares the two: whatever a crash leaves is
// a difference that the next Apply finishes. Only Apply starts and stops; an
// instance that ended by itself becomes a difference when its restart is due.
//
// Driver (driver.go) comes first; then observe.go, plan.go, apply.go with
// roll.go, health.go and watch.go. It must not know what a turn is, nor any
// other driver.
package local
