#!/bin/bash
# Builds tests of glibc's own test suite against the installed glibc, without building glibc: into DIRECTORY/bin, each once.
#
# usage: glibc-build.sh DIRECTORY [TEST…]
#
# A TEST is the path of its source without `.c`, like `nptl/tst-cond2`. Without any, all are tried of the folders below;
# those that need glibc's insides do not compile and are left out. The sources are Debian's package glibc-source.
set -eu
mkdir -p "$1/bin" "$1/include" "$1/support" && cd "$1"
shift
folders=(nptl sysdeps/pthread rt posix signal io misc time sysvipc socket dirent termios stdlib stdio-common setjmp login
    libio inet resource pwd sysdeps/unix/sysv/linux sysdeps/unix/sysv/linux/x86_64)

if [[ ! -e source ]]; then
    mkdir -p unpacked
    tar -C unpacked -xf /usr/src/glibc/glibc-*.tar.xz
    ln -s unpacked/glibc-* source
fi
export SOURCE=$PWD/source

# What the tests and their support library use of glibc's private headers, and of its build.
cat >include/build.h <<'END'
#include <limits.h>
#define IS_IN(module) 0
#define _ISOMAC 1
#define libc_hidden_proto(name)
#define TIMEOUTFACTOR 1
#define INTERNAL_SYSCALL_ERROR_P(value) ((unsigned long)(value) > -4096UL)
END
echo '#define TEST_COMPAT(library, from, to) 0' >include/shlib-compat.h
echo '#define allocate_once(place, make, free, closure) (*(place) ? *(place) : (*(place) = make(closure)))' >include/allocate_once.h
: >include/config.h
(
    cd include
    ln -sf "$SOURCE"/include/{array_length,libc-diag,intprops,libc-pointer-arith,file_change_detection,scratch_buffer}.h .
    ln -sf "$SOURCE"/sysdeps/generic/{mremap-failure,mmap_info,tst-stack-align}.h .
    ln -sf "$SOURCE"/sysdeps/x86_64/stackinfo.h "$SOURCE"/test-skeleton.c .
    ln -sfn "$SOURCE"/{support,posix,io,time,elf,malloc,sysdeps,nptl,misc,stdlib,signal} .
)

compile() { # arguments of gcc
    gcc -std=gnu11 -O1 -w -fexceptions -D_GNU_SOURCE -DMODULE_NAME=testsuite -include build.h -I include -I source/support "$@"
}

support_object() { # source
    local name=${1##*/} paths=()
    for path in SRCDIR OBJDIR OBJDIR_ELF_LDSO INSTDIR LIBDIR BINDIR SBINDIR SLIBDIR ROOTSBINDIR COMPLOCALEDIR SYSCONFDIR ROOTSBIN; do
        paths+=("-D${path}_PATH=\"/usr\"")
    done
    compile "${paths[@]}" -c "$1" -o "support/${name%.c}.o" 2>/dev/null || true
}

test_program() { # test
    [[ ! -e bin/$1 && -e source/$1.c ]] || return 0
    mkdir -p "bin/${1%/*}"
    compile -iquote "source/${1%/*}" -iquote source/sysdeps/pthread -iquote source/sysdeps/unix/sysv/linux -rdynamic \
        "-DOBJPFX=\"/tmp/\"" "source/$1.c" -o "bin/$1" libsupport.a -lm 2>/dev/null || true
}
export -f compile support_object test_program

each() { # function argument…
    local function=$1
    shift
    printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -I{} bash -c "$function {}"
}

if [[ ! -e libsupport.a ]]; then
    routines=$(sed -n '/^libsupport-routines/,/[^\\]$/p' source/support/Makefile | grep -oE '^ +[-_a-z0-9]+' | grep -v time64)
    mapfile -t parts < <(printf 'source/support/%s.c\n' $routines)
    each support_object "${parts[@]}"
    ar rcs libsupport.a support/*.o
fi
if [[ $# -eq 0 ]]; then
    # Some move the machine's clock.
    mapfile -t all < <(cd source && printf '%s\n' "${folders[@]}" | while read -r folder; do ls "$folder"/{tst,test}-*.c; done |
        sed 's/\.c$//' | grep -vE 'settime|adjtime|clock2$')
    set -- "${all[@]}"
fi
each test_program "$@"
