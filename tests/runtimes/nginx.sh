# nginx with two workers at a socket of the file system: requests, a reload, a graceful end.
PATH=$PATH:/usr/sbin
directory=$(mktemp -d) && cd "$directory" || exit 1
chmod 755 .
yes 0123456789 | head -n 100000 >large
cat >conf <<EOF
daemon off; worker_processes 2; error_log $directory/log; pid $directory/pid;
events {}
http {
    access_log off;
    client_body_temp_path $directory/t1; proxy_temp_path $directory/t2; fastcgi_temp_path $directory/t3;
    uwsgi_temp_path $directory/t4; scgi_temp_path $directory/t5;
    server { listen unix:$directory/socket; root $directory; }
}
EOF
nginx -c "$directory/conf" &
until [ -S socket ]; do sleep 0.1; done
cat >client.py <<'EOF'
import hashlib, socket, sys
for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("socket")
        client.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
        print(head.split(b"\r\n")[0].decode(), len(body) if path == "nothing" else hashlib.md5(body).hexdigest())
EOF
/usr/bin/python3 client.py conf.none large large large
kill -HUP "$(cat pid)"
sleep 0.5
/usr/bin/python3 client.py large
kill -QUIT "$(cat pid)"
wait
grep -c emerg log
rm -r "$directory"
