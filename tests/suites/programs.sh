#!/bin/bash
# Starts each program of Debian packages with --version and with --help, and says how it ended and what it printed, as a
# checksum: a broad look at loaders, libraries and first steps.
#
# usage: programs.sh PACKAGE...
cd "$(mktemp -d)" || exit 1
look() { # program option
    local output status
    output=$(timeout -k 1 20 "$1" "$2" </dev/null 2>&1)
    status=$?
    echo "exit-$status-$(cksum <<<"$output" | tr ' ' -)"
}
for package in "$@"; do
    begin=$EPOCHSECONDS
    for program in $(dpkg -L "$package" | grep -E '^/(usr/)?s?bin/' | sort -u); do
        # Those that change who uses the terminal, or the machine, are left alone whatever their options say.
        case $program in */login | */su | */newgrp | */nologin | */agetty | */reboot) continue ;; esac
        [[ -f $program && -x $program ]] || continue
        echo "@@ $package $program $(look "$program" --version)/$(look "$program" --help)"
    done
    echo "@@ $package end ran"
    echo "## $package: $((EPOCHSECONDS - begin)) s"
done
