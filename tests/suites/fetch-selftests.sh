#!/bin/bash
# Fetches Linux' own tests of its system calls, from Debian's package of its source, and builds those that are run: into
# DIRECTORY, once.
#
# usage: fetch-selftests.sh DIRECTORY
set -eu
mkdir -p "$1/apt/lists/partial" && cd "$1"
[[ ! -e done ]] || exit 0

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb http://deb.debian.org/debian $release main" >apt/sources.list
apt=(-o Dir::Etc::SourceList="$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$PWD/apt/lists" -o APT::Sandbox::User=root -q)
apt-get "${apt[@]}" update
apt-get "${apt[@]}" download linux-source-6.1
dpkg-deb --fsys-tarfile linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
    tar -xJ --strip-components=1 linux-source-6.1/tools linux-source-6.1/scripts
rm linux-source-6.1_*.deb
cd tools/testing/selftests
for directory in capabilities clone3 core exec futex ipc kcmp membarrier memfd openat2 pidfd proc ptrace rseq seccomp \
    sigaltstack splice sync timers tmpfs vDSO; do
    # What wants libraries that are not here (FUSE) is not run.
    make -s -k -C "$directory" >/dev/null 2>&1 || true
done
touch "$OLDPWD/done"
