#!/bin/sh
# Runs the tests that need real engines: those with the build tag e2e, package
# by package, since each starts engines of its own. A missing engine fails.
set -eu

go=${GO:-go}
sh "$(dirname "$0")/engines/build.sh"
packages=$(git ls-files --cached --others --exclude-standard -- '*_test.go' | xargs grep -l '^//go:build e2e' | xargs -n1 dirname | sort -u | sed 's#^#./#')
# What needs no engine and takes long has been run by make test.
exec "$go" test -tags e2e -count=1 -p 1 -timeout 30m -skip '^(TestScripts|TestKillAtEveryStep)$' ${E2E_RUN:+-run "$E2E_RUN"} $packages
