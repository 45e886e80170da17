#!/bin/bash
# Runs the tests of busybox' source against the installed busybox, as its `runtest` does, but with the links to the
# applets made once.
#
# usage: busybox.sh DIRECTORY APPLET[:SECONDS]...
#
# DIRECTORY is the source's `testsuite`, beside a `.config` (`fetch.sh` makes it).
directory=$1
shift
scratch=$(mktemp -d)
cp -r "$directory" "$directory/../.config" "$directory/../scripts" "$scratch" && cd "$scratch/testsuite" || exit 1
ln -s "$(command -v busybox)" "$scratch/busybox"
mkdir "$scratch/links" && busybox --install -s "$scratch/links"
export bindir=$scratch tsdir=$scratch/testsuite VERBOSE=1 PATH=$scratch/links:$scratch/testsuite:$scratch:$PATH
OPTIONFLAGS=:$(sed -nr 's/^CONFIG_//p' "$scratch/.config" | sed 's/=.*//' | xargs | sed 's/ /:/g'):
export OPTIONFLAGS

# Tests of the old style are scripts that shall not fail.
old_style() {
    local test
    for test in "$tsdir/$1"/*; do
        mkdir scratch && cd scratch || return
        d=$tsdir sh -x -e "$test" && echo "PASS: ${test##*/}" || echo "FAIL: ${test##*/}"
        cd .. && rm -rf scratch
    done
}
export -f old_style

for word in "$@"; do
    name=${word%%:*} seconds=60
    [[ $word == *:* ]] && seconds=${word##*:}
    begin=$EPOCHSECONDS
    {
        [[ ! -d $name ]] || timeout -k 5 "$seconds" bash -c "old_style $name"
        [[ ! -f $name.tests ]] || timeout -k 5 "$seconds" "./$name.tests"
    } </dev/null >output 2>&1
    status=$?
    cat output
    echo
    sed -n -E 's/^(PASS|FAIL|SKIPPED|UNTESTED): (.*)$/\1 \2/p' output | while read -r outcome test; do
        echo "@@ $name ${test// /_} $outcome"
    done
    # Below that it is the number of tests that failed, each of which was reported.
    [[ $status -lt 124 ]] && status=ran
    echo "@@ $name end $status"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
done
rm -rf "$scratch"
