# Redis at a socket of the file system: commands, a benchmark's load, a snapshot by a forked child, a restart from it.
directory=$(mktemp -d) && cd "$directory" || exit 1
serve() {
    redis-server --port 0 --unixsocket "$directory/socket" --dir "$directory" --save '' >>log 2>&1 &
    until redis-cli -s socket ping >/dev/null 2>&1; do sleep 0.1; done
}
serve
redis-cli -s socket set counter 41
redis-cli -s socket incr counter
redis-benchmark -s socket -n 2000 -c 10 -q -t lpush >/dev/null && redis-cli -s socket llen mylist
redis-cli -s socket bgsave
until redis-cli -s socket info persistence | grep -q rdb_bgsave_in_progress:0; do sleep 0.1; done
redis-cli -s socket info persistence | grep rdb_last_bgsave_status
redis-cli -s socket shutdown nosave
wait
serve
redis-cli -s socket get counter
redis-cli -s socket shutdown nosave
wait
rm -r "$directory"
