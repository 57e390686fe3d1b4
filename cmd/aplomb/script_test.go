package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// TestMain makes the test binary aplomb where it is started as such, also as
// the worker, the shim and the sandbox that aplomb starts of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == detached.ShimCommand || os.Args[1] == worker.Name || os.Args[1] == sandbox.Command) {
		main()
	}
	testscript.Main(suite(m), map[string]func(){"aplomb": main})
}

// TestScripts is the whole binary, story by story: each script is headed by
// what it guards.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":        cmdCode,
			"commit":      cmdCommit,
			"until":       cmdUntil,
			"field":       cmdField,
			"remember":    cmdRemember,
			"same":        cmdSame,
			"killproc":    cmdKillProc,
			"running":     cmdRunning,
			"occupy":      cmdOccupy,
			"eventually":  cmdEventually,
			"freeport":    cmdFreePort,
			"expand":      cmdExpand,
			"certificate": cmdCertificate,
			"get":         cmdGet,
			"receive":     cmdReceive,
			"hup":         cmdHup,
			"build":       cmdBuild,
			"copytree":    cmdCopyTree,
			"shows":       cmdShows,
		},
	})
}
