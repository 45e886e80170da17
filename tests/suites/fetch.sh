#!/bin/bash
# Fetches the sources whose test suites are run, and builds the little that these need: into DIRECTORY, once.
#
# usage: fetch.sh DIRECTORY
#
# The sources are Debian's, by lists of our own: the machine's configuration stays as it is.
set -eu
mkdir -p "$1/apt/lists/partial" && cd "$1"
[[ ! -e done ]] || exit 0

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb-src http://deb.debian.org/debian $release main" >apt/sources.list
apt=(-o Dir::Etc::SourceList="$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$PWD/apt/lists" -o APT::Sandbox::User=root -q)
apt-get "${apt[@]}" update
for package in bash busybox lua5.4 perl; do
    [[ -d $package ]] && continue
    mkdir -p unpacked && rm -rf unpacked/*
    (cd unpacked && apt-get "${apt[@]}" --download-only source "$package" && dpkg-source -x ./*.dsc source)
    mv unpacked/source "$package"
done

# The helpers of bash's tests need nothing of the header that they name.
: >bash/support/bashansi.h
for helper in recho zecho xcase printenv; do
    gcc -w -O -include stdio.h -include stdlib.h -include string.h -o "bash/tests/$helper" "bash/support/$helper.c"
done
cp busybox/debian/config/pkg/static busybox/.config
# Perl's tests look for its library beside them: the installed one, in one piece.
mkdir -p perl/installed
for directory in $(perl -e 'print join " ", grep { /5\.\d+$|base$/ && -d } @INC'); do
    cp -a --no-clobber "$directory/." perl/installed
done
touch done
