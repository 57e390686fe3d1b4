// Package worker runs what evaluates other people's text in processes of its
// own: the same binary, started again under the hidden command Name, with no
// environment. An evaluation of CUE cannot be cancelled and its contexts grow,
// so a worker has a memory limit and a deadline for each item, is killed on
// excess, and is ended once it has grown; the item over which it ended is
// blamed, and no other.
//
// A Pool does jobs: items of one service, which a Handler answers. Without a
// Command the handlers run in this process, with neither deadline nor memory
// limit: for tests and tools that read only what they wrote.
//
// Read in this order: pool.go (jobs and blame), process.go (one process),
// serve.go (what runs in it), frame.go (how they speak). It must not know what
// the services do.
package worker
