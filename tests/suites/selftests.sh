#!/bin/bash
# Runs Linux' own tests of its system calls: how each ended, and where it says so in TAP, each of its cases.
#
# usage: selftests.sh DIRECTORY TEST...
selftests=$1/tools/testing/selftests
shift
output=$(mktemp)
for item in "$@"; do
    begin=$EPOCHSECONDS
    limit=60
    [[ $item == *:* ]] && limit=${item#*:} item=${item%:*}
    # The addresses that leaks are looked for at are none of the test's business.
    (cd "$selftests/$(dirname "$item")" && ulimit -c 0 &&
        ASAN_OPTIONS=detect_leaks=0 timeout -k 1 "$limit" "./$(basename "$item")" </dev/null >"$output" 2>&1)
    status=$?
    sed -nE "s|^ok [0-9]+ ([A-Za-z_.]+)( *# SKIP.*)?\$|@@ $item \\1 ok|p
        s|^not ok [0-9]+ ([A-Za-z_.]+)\$|@@ $item \\1 failed|p" "$output"
    echo "@@ $item end exit-$status"
    sed 's/^/## /' "$output" | cut -c1-200 | tail -n 40
    echo "## $item: $((EPOCHSECONDS - begin)) s"
done
