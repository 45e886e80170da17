#!/bin/bash
# Builds real programs from source, and runs what came out; handles archives and repositories.
#
# usage: build.sh DIRECTORY THING[:SECONDS]...
#
# DIRECTORY is where `fetch.sh` has put the sources. What a step prints goes into its outcome as a checksum.
directory=$1
shift
export LC_ALL=C HOME=/root GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null

lua() {
    cp -r "$directory/lua5.4/src" lua && cd lua && rm -f luac.c Makefile &&
        echo '#define DEB_HOST_MULTIARCH "x86_64-linux-gnu"' >lua5.4-deb-multiarch.h
    printf '%s\n' 'objects := $(patsubst %.c,%.o,$(wildcard *.c))' 'lua: $(objects)' '	gcc -o $@ $^ -lm -ldl' \
        '%.o: %.c' '	gcc -O1 -w -DLUA_USE_POSIX -c $<' >Makefile
    make -j4 >/dev/null &&
        ./lua -e 'local t = {} for i = 1, 100 do t[i] = i * i end print(_VERSION, #t, t[100], string.rep("x", 5))'
}

hello() {
    printf 'int puts(const char*); int main(void) { puts("compiled here"); return 0; }\n' >hello.c
    gcc -O2 -g -Wall -o hello hello.c && ./hello && gcc -static -o static hello.c && ./static && file -b --mime-type hello.c
}

sqlite() {
    printf 'create table t(a, b); insert into t values (1, "x"), (2, "y");\nselect sum(a), group_concat(b) from t;\n' >script
    python3 -c 'import sqlite3; db = sqlite3.connect("db"); print(db.executescript(open("script").read()) and 1);
print(db.execute("select sum(a), group_concat(b) from t").fetchall())'
}

archives() {
    cp -r "$directory/lua5.4/src" tree
    local name
    for name in gzip bzip2 xz; do
        tar --create --file "a.$name" --"$name" --sort=name --mtime=@0 --owner=0 --group=0 tree &&
            mkdir "$name" && tar --extract --file "a.$name" --directory "$name" && diff -r tree "$name/tree" && echo "$name"
    done
}

repository() {
    git init -q -b main one && cd one && cp -r "$directory/lua5.4/src" . && git add -A &&
        git -c user.name=a -c user.email=a@b commit -q -m first && cd .. &&
        git clone -q one two 2>&1 && cd two && echo change >>src/lua.c && git diff --stat && git log --format=%s &&
        git -c user.name=a -c user.email=a@b commit -q -a -m second && git push -q origin HEAD:other 2>&1 &&
        git -C ../one branch --list && git gc -q 2>&1 && git fsck 2>&1 | grep -v '^notice' | wc -l
}

crate() {
    local cargo=${CARGO:-$(command -v cargo)}
    mkdir -p crate/src && cd crate &&
        printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml &&
        printf 'fn main() { println!("{}", (1..=10u64).product::<u64>()); }\n' >src/main.rs &&
        "$cargo" build -q --offline 2>&1 && ./target/debug/small
}

for word in "$@"; do
    name=${word%%:*} seconds=300
    [[ $word == *:* ]] && seconds=${word##*:}
    begin=$EPOCHSECONDS
    scratch=$(mktemp -d)
    output=$(cd "$scratch" && export directory && timeout -k 5 "$seconds" bash -c "$(declare -f "$name"); $name" 2>&1 </dev/null)
    status=$?
    echo "$output"
    rm -rf "$scratch"
    echo
    echo "@@ $name output $(cksum <<<"$output" | tr ' ' -)"
    echo "@@ $name end exit-$status"
    echo "## $name: $((EPOCHSECONDS - begin)) s"
done
