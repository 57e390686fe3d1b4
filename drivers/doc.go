// Package drivers holds the contract between the reconciler and the engines,
// and what every driver shares: error classes, the registry of targets, and
// decorators for what cuts across (retry, limit, log, meter). A driver is one
// target, for many kinds. It sees neither another driver nor a source nor the
// reconciler; an engine's API client stays in its own driver.
//
// Read in this order: Driver (the four calls), Item and State (what is asked
// and answered), Change (what a plan is), then drivertest, which enforces all
// of it on every driver, and memory, which is the reference.
package drivers
