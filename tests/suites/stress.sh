#!/bin/bash
# Runs stressors of stress-ng, two instances of each for two seconds, and says what became of them.
#
# usage: stress.sh STRESSOR[:SECONDS]...
#
# `@@ STRESSOR end OUTCOME` is a result: whether it ran or skipped itself, and stress-ng's exit status.
cd "$(mktemp -d)" || exit 1
# One of them signals processes by chance; the first process of a VM has no init above it that would not care.
trap : ALRM USR1 USR2 HUP TERM
for word in "$@"; do
    name=${word%%:*}
    begin=$EPOCHSECONDS
    output=$(timeout -k 5 60 stress-ng --"$name" 2 --timeout 2s --metrics-brief --no-rand-seed --temp-path . 2>&1 </dev/null)
    status=$?
    verdict=ran
    # It says so in many ways, in words that name processes.
    grep -q -i "skip\|no plugin-so specified" <<<"$output" && verdict=skipped
    echo "$output"
    echo
    echo "@@ $name end $verdict-$status"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
done
