#!/bin/bash
# Runs bash's own tests, as `tests/run-all` does: what each prints has to be what is expected of it.
#
# usage: bash.sh DIRECTORY TEST[:SECONDS]...
#
# DIRECTORY is the source's `tests`, with the helpers recho, zecho and xcase and printenv beside it (`fetch.sh` builds them).
directory=$1
shift
scratch=$(mktemp -d)
cp -r "$directory" "$scratch/tests" && cd "$scratch/tests" || exit 1
export THIS_SH=/bin/bash BASH_TSTOUT=$scratch/output TMPDIR=$scratch BUILD_DIR=$scratch
export PATH=$PWD:$PATH
unset BASH_ENV ENV HISTFILE POSIXLY_CORRECT LANG LC_ALL
ulimit -c 0
for word in "$@"; do
    name=${word%%:*} seconds=120
    [[ $word == *:* ]] && seconds=${word##*:}
    begin=$EPOCHSECONDS
    differences=$(timeout -k 5 "$seconds" sh "./run-$name" 2>&1 </dev/null)
    status=$?
    echo "$differences"
    echo
    # `diff` speaks by its status; what it printed names processes and places.
    echo "@@ $name end exit-$status"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
done
rm -rf "$scratch"
