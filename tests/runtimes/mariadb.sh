# MariaDB at a socket of the file system: its tables made, a transaction, an aggregate over a join, a clean end.
PATH=$PATH:/usr/sbin
directory=$(mktemp -d) && cd "$directory" || exit 1
mysql_install_db --no-defaults --user=root --datadir="$directory/data" --auth-root-authentication-method=normal \
    --skip-test-db >install.log 2>&1 || cat install.log
mariadbd --no-defaults --user=root --datadir="$directory/data" --skip-networking --socket="$directory/socket" \
    --innodb-buffer-pool-size=32M >log 2>&1 &
until mariadb-admin -S socket ping >/dev/null 2>&1; do sleep 0.2; done
mariadb -S socket <<'EOF'
CREATE DATABASE shop;
USE shop;
CREATE TABLE item (id INT PRIMARY KEY, name TEXT) ENGINE = InnoDB;
CREATE TABLE sale (item INT, price DECIMAL(8, 2), FOREIGN KEY (item) REFERENCES item (id)) ENGINE = InnoDB;
INSERT INTO item VALUES (1, 'tea'), (2, 'cake');
START TRANSACTION;
INSERT INTO sale SELECT 1 + seq % 2, seq FROM seq_1_to_1000;
COMMIT;
START TRANSACTION;
DELETE FROM sale;
ROLLBACK;
SELECT name, COUNT(*), SUM(price) FROM sale JOIN item ON id = item GROUP BY name ORDER BY name;
EOF
mariadb-admin -S socket shutdown
wait
grep -o 'Shutdown complete' log
rm -r "$directory"
