package compile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// samplePackage declares 100 resources in one CUE file as a platform team
// would: a definition with defaults for an application, a table of 25 of them,
// and a comprehension that makes four resources of each, of which two are
// unified with the imported schema.
func samplePackage(p int) string {
	var table strings.Builder
	for a := range 25 {
		fmt.Fprintf(&table, "\t\"app-%d-%d\": {count: %d, tier: %q}\n", p, a, 1+a%5, []string{"front", "back"}[a%2])
	}
	return fmt.Sprintf(`// Package team%02d is one team's applications.
package team%02d

import "aplomb.dev/schema/local"

// An application, and what comes of it.
#App: {
	name:  string
	count: *1 | int & >=1 & <=10
	tier:  *"front" | "back"

	_labels: {team: "shop", "tier": tier}

	port: {
		apiVersion: "aplomb.dev/v1"
		kind:       "local.port"
		metadata: {"name": name, labels: _labels, hold: ["delete"]}
	}
	service: local.#Service & {
		metadata: {"name": name, labels: _labels, hold: ["delete"]}
		spec: {
			port: "@{local.port/\(name).port}"
			tags: ["http", tier, "shop"]
			checks: [{http: "/health", interval: "10s", timeout: "1s", status: 204}, {tcp: true}]
		}
	}
	secret: {
		apiVersion: "aplomb.dev/v1"
		kind:       "local.secret"
		metadata: {"name": name, labels: _labels, hold: ["delete"]}
		spec: {length: 48, alphabet: "hex", rotate: "30d"}
	}
	process: local.#Process & {
		metadata: {"name": name, labels: _labels, hold: ["delete"]}
		spec: {
			argv: ["/usr/bin/app", "-listen", "@{local.port/\(name).address}"]
			env: {LOG: "info", TOKEN: "@{local.secret/\(name).value}", WORKERS: 4, CACHE: true}
			"count": count
			dir:     "work"
			check: {http: "http://127.0.0.1/health", interval: "2s"}
			update: parallel: 2
			stop: {signal: "INT", grace: "30s"}
			logs: {maxSize: 20, keep: 5}
		}
	}
}

_apps: [string]: {count: int, tier: string}
_apps: {
%s}

apps: {
	for name, app in _apps {
		(name): #App & {"name": name, app}
	}
}
`, p, p, table.String())
}

func packageFile(p int) string { return fmt.Sprintf("team%02d/apps.cue", p) }

func writePackages(b testing.TB, packages int) string {
	b.Helper()
	dir := b.TempDir()
	for p := range packages {
		writeFile(b, dir, packageFile(p), samplePackage(p))
	}
	return dir
}

// BenchmarkColdCUE compiles 10,000 resources in 100 packages of CUE that nothing
// is known of.
func BenchmarkColdCUE(b *testing.B) {
	dir := writePackages(b, 100)
	var peak int64
	for b.Loop() {
		p := worker.New(worker.Options{Command: testWorker})
		compileDir(b, New(Options{Workers: p, CacheDir: b.TempDir()}), dir, 10_000)
		_ = p.Close()
		peak = max(peak, p.Peak())
	}
	own := peakMemory(b)
	b.ReportMetric(float64(peak)/(1<<20), "worker-MiB")
	b.ReportMetric(float64(peak*worker.DefaultProcesses+own)/(1<<20), "all-MiB")
}

// BenchmarkOneChangedCUE compiles again after one of 100 packages was altered.
func BenchmarkOneChangedCUE(b *testing.B) {
	dir := writePackages(b, 100)
	c := New(Options{Workers: testPool(b), CacheDir: b.TempDir()})
	compileDir(b, c, dir, 10_000)
	text, err := os.ReadFile(filepath.Join(dir, packageFile(7)))
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		writeFile(b, dir, packageFile(7), fmt.Sprintf("// change %d\n%s", n, text))
		compileDir(b, c, dir, 10_000)
	}
}

// BenchmarkRestartCUE compiles with a cache on disk that knows everything.
func BenchmarkRestartCUE(b *testing.B) {
	dir, cache := writePackages(b, 100), b.TempDir()
	compileDir(b, New(Options{Workers: testPool(b), CacheDir: cache}), dir, 10_000)
	for b.Loop() {
		p := worker.New(worker.Options{Command: testWorker})
		compileDir(b, New(Options{Workers: p, CacheDir: cache}), dir, 10_000)
		_ = p.Close()
	}
}
