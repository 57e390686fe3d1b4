package git

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/sources"
)

func TestDamagedMirror(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, mirror string, repo *served){
		"removed": func(t *testing.T, mirror string, _ *served) {
			if err := os.RemoveAll(mirror); err != nil {
				t.Fatal(err)
			}
		},
		"objects emptied": func(t *testing.T, mirror string, _ *served) {
			files, err := filepath.Glob(filepath.Join(mirror, "objects/??/*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%v, %v", files, err)
			}
			for _, f := range files {
				if err := os.Chmod(f, 0o600); err != nil {
					t.Fatal(err)
				}
				write(t, f, "")
			}
		},
		"only the commit arrived": func(t *testing.T, mirror string, repo *served) {
			repo.work.Commit("two", "a", "2")
			repo.push("main")
			id := repo.work.Head()
			from := filepath.Join(repo.work.Dir, ".git/objects", id[:2], id[2:])
			b, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(mirror, "objects", id[:2], id[2:])
			if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, to, string(b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := overHTTPS(t)
			one := repo.work.Commit("one", "a", "1")
			repo.push("main")
			s := open(t, repo.cfg)
			take(t, s)
			harm(t, s.store.path, repo)
			for _, again := range []*Source{s, open(t, repo.cfg)} {
				text := repo.work.Git("show", "HEAD:a")
				wantFile(t, take(t, again), "a", text)
			}
			// What is in force is not forgotten with the mirror.
			repo.work.Git("reset", "-q", "--hard", one)
			repo.work.Git("commit", "-q", "--amend", "-m", "rewound")
			repo.push("-f", "main")
			if _, err := try(t, s); !errors.Is(err, sources.ErrRewound) {
				t.Fatalf("rewound: %v", err)
			}
		})
	}
}
