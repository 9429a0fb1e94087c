# One PostgreSQL server for as long as standard input is open: `postgres.sh PORT [OPTION…]`. Says `ready`, or why not, on one line.
# Debian's server, in a temporary directory, as user `postgres` where this is root. Used by tests and by `bench/`.
set -eu
port=$1
shift
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -x "$bin/postgres" ] || { echo "there is no PostgreSQL: install Debian's package postgresql"; exit 0; }
dir=$(mktemp -d /tmp/squall-postgres-XXXXXX)
trap 'rm -rf "$dir"' EXIT
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi
cd "$dir"
$as "$bin/initdb" -D "$dir/data" -U shop -A trust --no-sync >"$dir/log" 2>&1 </dev/null || { echo "initdb: $(tail -1 "$dir/log")"; exit 0; }
$as "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
    -c max_connections=300 "$@" >"$dir/log" 2>&1 </dev/null &
pid=$!
for _ in $(seq 200); do
    if "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; then echo ready; break; fi
    kill -0 "$pid" 2>/dev/null || { echo "postgres: $(tail -1 "$dir/log")"; exit 0; }
    sleep 0.1
done
read -r _ || true
kill -QUIT "$pid" 2>/dev/null || true
wait "$pid" || true
