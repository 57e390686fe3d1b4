#!/bin/sh
# Runs every test: with the race detector in the packages where it is worth its
# time, without it in those that match $PLAIN. The detector needs cgo and a C
# compiler; without them everything is tested without it, which is said.
set -eu

go=${GO:-go}

cc=$("$go" env CC)
if [ "$("$go" env CGO_ENABLED)" != 1 ] || ! command -v "${cc%% *}" >/dev/null 2>&1; then
	echo "test: no C compiler, so without the race detector"
	exec "$go" test -timeout 30m ./...
fi

all=$("$go" list ./...)
raced=$(printf '%s\n' "$all" | grep -Ev "$PLAIN" || true)
plain=$(printf '%s\n' "$all" | grep -E "$PLAIN" || true)

# A machine that carries others takes several times as long as one that does not.
late='-timeout 30m'

# Both halves run even if the first one fails: one look shows all failures.
failed=0
[ -z "$raced" ] || "$go" test $late -race $raced || failed=1
[ -z "$plain" ] || "$go" test $late $plain || failed=1
exit "$failed"
