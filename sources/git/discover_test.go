package git

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzAlternates: whatever two repositories say that they borrow from, each folder
// is told once and as it is, and an end is found.
func FuzzAlternates(f *testing.F) {
	f.Add("../../b/objects\n", "../../a/objects\n# x\n\n/elsewhere\n")
	f.Add(strings.Repeat("../../b/objects/../objects\n", 99), strings.Repeat("../../a/./objects\n../../b/objects\n", 99))
	f.Add(".\n..\n/\n", "\x00\r\n")
	many := ""
	for i := range 2 * mostAlternates {
		many += fmt.Sprintf("/none/%d\n", i)
	}
	f.Add(many, "../../a/objects")
	root := f.TempDir()
	at := func(name string) string { return filepath.Join(root, name, "objects") }
	for _, name := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(at(name), "info"), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		for name, text := range map[string]string{"a": first, "b": second} {
			if err := os.WriteFile(filepath.Join(at(name), "info", "alternates"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		all, err := alternates(at("a"))
		if err != nil {
			return
		}
		seen := map[string]bool{at("a"): true}
		for _, dir := range all {
			if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || seen[dir] {
				t.Fatalf("%q of %q", dir, all)
			}
			seen[dir] = true
		}
		if len(all) > mostAlternates {
			t.Fatalf("%d folders", len(all))
		}
	})
}
