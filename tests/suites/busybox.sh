#!/bin/bash
# Runs the tests of busybox' source against the installed busybox.
#
# usage: busybox.sh DIRECTORY APPLET[:SECONDS]...
#
# DIRECTORY is the source's `testsuite`, beside a `.config` (`fetch.sh` makes it).
directory=$1
shift
scratch=$(mktemp -d)
cp -r "$directory" "$directory/../.config" "$directory/../scripts" "$scratch" && cd "$scratch/testsuite" || exit 1
ln -s "$(command -v busybox)" "$scratch/busybox"
export bindir=$scratch tsdir=$scratch/testsuite
for word in "$@"; do
    name=${word%%:*} seconds=120
    [[ $word == *:* ]] && seconds=${word##*:}
    begin=$EPOCHSECONDS
    timeout -k 5 "$seconds" ./runtest -v "$name" </dev/null >output 2>&1
    status=$?
    cat output
    echo
    sed -n -E 's/^(PASS|FAIL|SKIPPED|UNTESTED): (.*)$/\1 \2/p' output | while read -r outcome test; do
        echo "@@ $name ${test// /_} $outcome"
    done
    [[ $status -lt 124 ]] && status=ran
    echo "@@ $name end $status"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
done
rm -rf "$scratch"
