#!/bin/bash
# Runs tests of glibc's own test suite, as glibc-build.sh built them.
#
# usage: glibc.sh DIRECTORY TEST[:SECONDS]…
#
# Prints `@@ TEST end OUTCOME`: 0 is a success, 77 unsupported here. See tests/src/battery.rs.
programs=$1/bin
shift
# Emulation is slow, and some tests have limits of their own.
export TIMEOUTFACTOR=4

for word in "$@"; do
    name=${word%%:*} seconds=60
    [[ $word == *:* ]] && seconds=${word##*:}
    program=$programs/$name arguments=()
    case ${name##*/} in
    tst-exec | tst-execvpe5 | tst-spawn | tst-spawn5 | tst-mqueue7) arguments=(-- "$program") ;;
    tst-cancel7 | tst-cancelx7) arguments=(--command "exec $program") ;;
    tst-exec4) arguments=("$program") ;;
    esac
    scratch=$(mktemp -d) && cd "$scratch" || exit
    begin=$EPOCHSECONDS
    TMPDIR=$scratch timeout -k 5 "$seconds" "$program" "${arguments[@]}" </dev/null 2>&1 | tail -n 20
    echo "@@ $name end ${PIPESTATUS[0]}"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
    cd / && rm -rf "$scratch"
done
