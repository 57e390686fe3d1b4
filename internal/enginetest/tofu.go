package enginetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TofuTool is OpenTofu with a provider of the tests' own, installed from a
// mirror on disk: no run of it opens a connection.
type TofuTool struct {
	Binary string
	Config string // for TF_CLI_CONFIG_FILE
}

// TestProvider is how a module names the provider of tools/testprovider.
const TestProvider = "aplomb.test/aplomb/aplombtest"

var tofu engine[TofuTool]

// Tofu builds the provider and answers where things are, the same for the whole
// process. Its folder is removed by Main.
func Tofu(t testing.TB) *TofuTool {
	t.Helper()
	return tofu.get(t, func(dir string) (*TofuTool, error) {
		running.Lock()
		folder := &process{dir: dir, done: make(chan struct{})}
		close(folder.done)
		running.all = append(running.all, folder) // it is removed with those of the processes
		running.Unlock()
		return tofuIn(dir)
	})
}

func tofuIn(dir string) (*TofuTool, error) {
	tool, err := find("tofu")
	if err != nil {
		return nil, err
	}
	source, err := providerSource()
	if err != nil {
		return nil, err
	}
	at := filepath.Join(dir, "mirror", TestProvider, "1.0.0", runtime.GOOS+"_"+runtime.GOARCH)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(at, "terraform-provider-aplombtest_v1.0.0"), ".")
	build.Dir = source
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("enginetest: build the test provider: %w\n%s", err, out)
	}
	config := filepath.Join(dir, "cli.tfrc")
	text := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", filepath.Join(dir, "mirror"))
	return &TofuTool{Binary: tool, Config: config}, os.WriteFile(config, []byte(text), 0o600)
}

// providerSource is tools/testprovider of the repository.
func providerSource() (string, error) {
	wd, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(wd, "tools", "testprovider", "go.mod")); statErr == nil {
			return filepath.Join(wd, "tools", "testprovider"), nil
		}
		if filepath.Dir(wd) == wd {
			return "", errors.New("enginetest: no tools/testprovider above the working folder")
		}
		wd = filepath.Dir(wd)
	}
	return "", err
}
