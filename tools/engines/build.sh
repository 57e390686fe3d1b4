#!/bin/sh
# Builds the engines of the tests, each from a module of its own, into the
# folder given, or into bin/engines. An engine that is on PATH serves instead.
# They are for tests only: the product speaks to engines and ships none.
set -eu

go=${GO:-go}
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/bin/engines}
mkdir -p "$out"

# engine NAME MODULE PACKAGE [FLAGS...] builds one program. The stamp says what
# it was built from: its module's own files and the version of Go.
engine() {
	name=$1 module=$2 package=$3
	shift 3
	if command -v "$name" >/dev/null 2>&1; then
		echo "engines: $name is on PATH"
		return
	fi
	stamp=$(cat "$root/tools/engines/$module/go.mod" "$root/tools/engines/$module/go.sum" "$0" | sha256sum | cut -c1-64)-$("$go" env GOVERSION)
	if [ -x "$out/$name" ] && [ "$(cat "$out/$name.stamp" 2>/dev/null)" = "$stamp" ]; then
		echo "engines: $name is built"
		return
	fi
	echo "engines: building $name"
	(cd "$root/tools/engines/$module" && GOFLAGS=-buildvcs=false GOWORK=off "$go" build -mod=readonly -trimpath -ldflags '-s -w' "$@" -o "$out/$name" "$package")
	echo "$stamp" >"$out/$name.stamp"
}

engine tofu tofu github.com/opentofu/opentofu/cmd/tofu
engine consul consul github.com/hashicorp/consul
engine nomad nomad github.com/hashicorp/nomad
engine vault vault github.com/hashicorp/vault -tags minimal
engine postgresql-database-plugin vault github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin
engine gitea gitea code.gitea.io/gitea -tags 'sqlite sqlite_unlock_notify'

# PostgreSQL comes from the distribution, the server's programs off PATH.
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null 2>&1; then
	echo "engines: installing postgresql"
	[ "$(id -u)" = 0 ] || { echo "engines: install the package postgresql" >&2; exit 1; }
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null
fi
