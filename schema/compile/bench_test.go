package compile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// shape of a benchmark's tree: files times documents.
var trees = []struct{ files, docs int }{{100, 100}, {10_000, 1}}

// writeTree makes files*docs resources of about twenty fields each, of all
// kinds, on the disk.
func writeTree(b testing.TB, files, docs int) string {
	b.Helper()
	dir := b.TempDir()
	for f := range files {
		var text strings.Builder
		for d := range docs {
			text.WriteString(sample(f*docs + d))
		}
		writeFile(b, dir, treeFile(f), text.String())
	}
	return dir
}

func treeFile(f int) string { return fmt.Sprintf("team%02d/app%05d.yaml", f%100, f) }

func writeFile(b testing.TB, dir, name, text string) {
	b.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func sample(i int) string {
	head := fmt.Sprintf("---\napiVersion: aplomb.dev/v1\nmetadata:\n  name: app-%d\n  labels: {team: shop, tier: front}\n  hold: [delete]\n", i)
	switch i % 4 {
	case 0:
		return head + `kind: local.file
spec:
  path: etc/app-` + fmt.Sprint(i) + `.conf
  content: |
    listen = @{local.port/app-` + fmt.Sprint(i) + `.address}
    log = info
  mode: "0640"
`
	case 1:
		return head + `kind: local.service
spec:
  port: "@{local.port/app-` + fmt.Sprint(i) + `.port}"
  address: 127.0.0.1
  tags: [http, front, shop]
  checks:
    - {http: /health, interval: 10s, timeout: 1s, status: 204}
    - {tcp: true}
`
	case 2:
		return head + "kind: local.secret\nspec: {length: 48, alphabet: hex, rotate: 30d}\n"
	}
	return head + `kind: local.process
spec:
  argv: [/usr/bin/app, -listen, "@{local.port/app-` + fmt.Sprint(i) + `.address}"]
  env: {LOG: info, TOKEN: "@{local.secret/app-` + fmt.Sprint(i) + `.value}", WORKERS: 4, CACHE: true}
  count: 3
  dir: work
  check: {http: "http://127.0.0.1/health", interval: 2s}
  update: {parallel: 2}
  stop: {signal: INT, grace: 30s}
  logs: {maxSize: 20, keep: 5}
`
}

func compileDir(b testing.TB, c *Compiler, dir string, want int) {
	b.Helper()
	res, err := c.Compile(context.Background(), Declarations{FS: os.DirFS(dir)})
	if err != nil {
		b.Fatal(err)
	}
	if len(res.Resources) != want {
		b.Fatalf("%d resources, want %d; findings: %.5v", len(res.Resources), want, res.Findings)
	}
}

// BenchmarkCold compiles 10,000 resources that nothing is known of.
func BenchmarkCold(b *testing.B) {
	for _, t := range trees {
		b.Run(fmt.Sprintf("%dx%d", t.files, t.docs), func(b *testing.B) {
			dir := writeTree(b, t.files, t.docs)
			var peak int64
			for b.Loop() {
				p := worker.New(worker.Options{Command: testWorker})
				compileDir(b, New(Options{Workers: p, CacheDir: b.TempDir()}), dir, t.files*t.docs)
				_ = p.Close()
				peak = max(peak, p.Peak())
			}
			own := peakMemory(b)
			b.ReportMetric(float64(peak)/(1<<20), "worker-MiB")
			b.ReportMetric(float64(peak*worker.DefaultProcesses+own)/(1<<20), "all-MiB")
		})
	}
}

// BenchmarkOneChanged compiles again after one file of 10,000 resources was
// altered.
func BenchmarkOneChanged(b *testing.B) {
	for _, t := range trees {
		b.Run(fmt.Sprintf("%dx%d", t.files, t.docs), func(b *testing.B) {
			dir := writeTree(b, t.files, t.docs)
			c := New(Options{Workers: testPool(b), CacheDir: b.TempDir()})
			compileDir(b, c, dir, t.files*t.docs)
			text, err := os.ReadFile(filepath.Join(dir, treeFile(7)))
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n++
				writeFile(b, dir, treeFile(7), fmt.Sprintf("# change %d\n%s", n, text))
				compileDir(b, c, dir, t.files*t.docs)
			}
		})
	}
}

// BenchmarkRestart compiles with a cache on disk that knows everything.
func BenchmarkRestart(b *testing.B) {
	for _, t := range trees {
		b.Run(fmt.Sprintf("%dx%d", t.files, t.docs), func(b *testing.B) {
			dir, cache := writeTree(b, t.files, t.docs), b.TempDir()
			compileDir(b, New(Options{Workers: testPool(b), CacheDir: cache}), dir, t.files*t.docs)
			for b.Loop() {
				p := worker.New(worker.Options{Command: testWorker})
				compileDir(b, New(Options{Workers: p, CacheDir: cache}), dir, t.files*t.docs)
				_ = p.Close()
			}
		})
	}
}

// peakMemory is the most resident memory that this process ever had, in bytes.
func peakMemory(b testing.TB) int64 {
	b.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return use.Maxrss << 10
}
