#!/bin/sh
# Makes a Git repository of examples/shop in a folder of its own, says what to
# try, and follows it. Ctrl-C ends the following and leaves everything running;
# what ends it all is said too. DEMO=FOLDER names the folder, which must not
# exist yet.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${DEMO:-$(mktemp -d "${TMPDIR:-/tmp}/aplomb-demo.XXXXXX")}
[ -z "${DEMO:-}" ] || mkdir "$DEMO"
dir=$(cd "$dir" && pwd)

mkdir "$dir/shop"
cp "$root"/examples/shop/*.yaml "$root"/examples/shop/*.tmpl "$dir/shop"
git -C "$dir/shop" init -q -b main
git -C "$dir/shop" config user.name Demo
git -C "$dir/shop" config user.email demo@example.org
git -C "$dir/shop" config commit.gpgsign false
git -C "$dir/shop" add .
git -C "$dir/shop" commit -q -m first

# A terminal that reads this finds the programs and stands in the folder.
printf 'PATH="%s/bin:$PATH"\ncd "%s"\n' "$root" "$dir" >"$dir/env"

cat <<TEXT

The shop's declarations are a Git repository now: $dir/shop
aplomb follows it below. In another terminal, begin with

    . $dir/env

and then try:

    aplomb status -w                              # watch from here as well
    aplomb show local.process/web                 # what is declared, what lives, the log

    sed -i.bak s/Welcome/Hello/ shop/web.yaml     # edit and commit: the file changes,
    git -C shop commit -qam "say hello"           # the processes follow, one at a time

    pkill -9 -n -f "shop web -config \$PWD/"      # kill one of this demo's processes: it comes back

    echo "count: two" >> shop/web.yaml            # break a file: nothing is changed,
    git -C shop commit -qam "oops"                # and the place is named
    git -C shop revert --no-edit HEAD             # a newer commit is all it takes

    git -C shop log -p aplomb-status              # what was written back

Ctrl-C ends the following and leaves everything running; aplomb up shop goes on.
To end it all:

    . $dir/env && aplomb down && cd / && rm -r $dir

TEXT

cd "$dir"
PATH="$root/bin:$PATH"
export PATH
exec aplomb up shop
