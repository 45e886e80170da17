#!/bin/bash
# Runs tests of perl's core with the installed perl.
#
# usage: perl.sh DIRECTORY FILE[:SECONDS]...
#
# DIRECTORY is the source's `t`. A file is one item; of its tests, those that fail are results of their own, and the
# number of those that pass is one.
directory=$1
shift
scratch=$(mktemp -d)
cp -r "$directory" "$scratch/t" && cd "$scratch/t" || exit 1
ln -s "$(command -v perl)" perl
ln -s "$directory/../installed" "$scratch/lib"
export PERL_CORE=1 PERL5LIB= TMPDIR=$scratch LC_ALL=C
for word in "$@"; do
    name=${word%%:*} seconds=120
    [[ $word == *:* ]] && seconds=${word##*:}
    begin=$EPOCHSECONDS
    timeout -k 5 "$seconds" ./perl "$name" </dev/null >output 2>&1
    status=$?
    grep -a -v '^ok ' output
    echo
    grep -a '^not ok ' output | grep -a -v '# TODO' | sed -E 's/^not ok ([0-9]+).*/\1/' | while read -r number; do
        echo "@@ $name $number failed"
    done
    echo "@@ $name passed $(grep -a -c '^ok ' output)"
    echo "@@ $name end exit-$status"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
done
rm -rf "$scratch"
