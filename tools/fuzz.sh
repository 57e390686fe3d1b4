#!/bin/sh
# Runs each fuzz target of the module for $FUZZTIME, one after the other: go
# test takes one at a time. What it finds interesting is made smaller by a few
# tries only: by default that takes a minute each time, in which nothing is tried.
set -eu

go=${GO:-go}

"$go" list -f '{{$p := .ImportPath}}{{$d := .Dir}}{{range .TestGoFiles}}{{$p}} {{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p}} {{$d}}/{{.}}{{"\n"}}{{end}}' ./... |
	while read -r package file; do
		[ -n "$package" ] || continue
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
			echo "fuzz: $package $target"
			"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 100x "$package" </dev/null || exit 1
		done || exit 1
	done
