// Package detached runs one command so that it outlives the program that
// started it, and is found again without doubt. The scheduler's embedded
// driver runs services with it; a long apply of an infrastructure tool fits as
// well.
//
// A run is a folder, made and synced before anything is forked:
//
//	spec.json   what runs: argv, environment without its secrets, folder, logs
//	lock        held from before the fork until the shim is gone
//	run.json    boot id, and pid with start time of the shim and its child
//	stop.json   how it shall be stopped, once it shall
//	exit.json   how it ended; when it is there, nothing of the run is alive
//	output.log  what the command wrote, rotated (unless the spec names a file)
//	shim.log    what the shim has to say, which should be nothing
//
// The command's parent is a shim: the same binary, started again in a session
// of its own. It owns the pipe that the command writes to, so that the
// starter's death never touches the command; it is the subreaper of all that
// the command leaves behind, ends all of it, and writes how it ended.
//
// The lock is the truth about life, not the pid: it is an open file
// description lock which the starter takes and the shim inherits, so there is
// no moment between fork and lock, and the kernel frees it however the shim
// dies. Asking who holds it (F_OFD_GETLK) disturbs nobody. Pids are used only
// to send signals, through a pidfd, after their start time was compared.
//
// A service manager that kills the whole control group of the starter kills its
// runs too: systemd wants KillMode=process.
//
// Secrets of the environment reach the shim through a pipe and stand in no
// file and no argv. The package must not know what it runs or for whom, and
// never restarts anything.
package detached
