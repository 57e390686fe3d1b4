// Package memory is a driver whose engine lives in memory. It is the reference
// of the contract in package drivers, the fake that other packages test with,
// and what the reconciler is simulated over: every habit of a real engine that
// has ever hurt a reconciler is a quirk to switch on, alone or with others.
//
// Engine is the server: it outlives drivers, as a real one outlives the daemon.
// Driver is the client: it is thrown away and made again at every restart, and
// Kill cuts it off in the middle of a call. Nothing here starts a goroutine or
// reads a clock; what takes time takes steps, and a step is a call or a Tick.
//
// It must not know the reconciler, nor be needed by any other driver.
package memory
