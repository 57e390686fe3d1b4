#!/bin/sh
# Checks what a reader should not have to. Every step runs, so that one look
# shows all that is wrong; the last line says whether anything was.
set -u

go=${GO:-go}
failed=

# step NAME COMMAND... runs a check and remembers whether it failed.
step() {
	name=$1
	shift
	echo "check: $name"
	"$@" || failed="$failed $name"
}

formatted() {
	files=$(git ls-files --cached --others --exclude-standard -- '*.go' | while read -r f; do
		[ ! -f "$f" ] || echo "$f"
	done)
	wrong=$(gofmt -l $files) || return 1
	[ -z "$wrong" ] || { printf 'not formatted, gofmt -w:\n%s\n' "$wrong"; return 1; }
}

# tree prints what distinguishes the work tree from any other.
tree() {
	git diff --no-ext-diff HEAD && git ls-files --others --exclude-standard | git hash-object --stdin-paths
}

# generated makes the generated files again; they are committed, so nothing may
# change. What did change is left, ready to be committed.
generated() {
	before=$(tree) && "$go" generate ./... && after=$(tree) || return 1
	[ "$before" = "$after" ] || { echo "generated files were stale; they are fresh now, commit them:"; git status --short; return 1; }
}

step gofmt formatted
step vet "$go" vet ./...
step vet-e2e "$go" vet -tags e2e ./...
step staticcheck "$go" tool staticcheck -tags e2e ./...
step generated generated
step go.mod "$go" mod tidy -diff
step rules "$go" test -count=1 ./internal/arch

[ -z "$failed" ] || { echo "check: failed:$failed"; exit 1; }
echo "check: all good"
