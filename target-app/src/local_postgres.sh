# One PostgreSQL server for as long as standard input is open: `local_postgres.sh DIRECTORY-PREFIX PORT [OPTION…]`. Says `ready`, or why
# not, on one line. The server is the one in PATH or the newest that is installed, in a directory of its own, as user `postgres` (or
# `nobody`) where this is root, since PostgreSQL refuses to be root. The password of its user `shop` is in the variable PASSWORD.
set -u
prefix=$1 port=$2
shift 2
refuse() { echo "$1"; exit 0; }

bin=
if found=$(command -v initdb) && found=$(readlink -f "$found") && [ -x "$(dirname "$found")/postgres" ]; then
    bin=$(dirname "$found")
else
    for place in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -V); do
        [ -x "$place/initdb" ] && [ -x "$place/postgres" ] && bin=$place
    done
fi
[ -n "$bin" ] || refuse "PostgreSQL is not installed: there is no initdb in PATH, nor below /usr/lib/postgresql"

as= pid=
dir=$(mktemp -d "$prefix-XXXXXX") || refuse "failed to make the directory $prefix-…"
clean_up() {
    trap '' INT TERM HUP
    [ -z "$pid" ] || { kill -QUIT "$pid"; wait "$pid"; } 2>/dev/null
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
umask 077
printf '%s' "$PASSWORD" >"$dir/password" || refuse "failed to write into $dir"
unset PASSWORD
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    chown -R "$user" "$dir"
    as="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
fi
cd "$dir" || refuse "failed to enter $dir"
# The password itself crosses the loopback: the costly proof of it would be most of what a connection costs.
$as timeout 60 "$bin/initdb" -D "$dir/data" -U shop -E UTF8 -A password --pwfile="$dir/password" --no-sync \
    >"$dir/log" 2>&1 </dev/null || refuse "initdb: $(tail -1 "$dir/log")"
rm -f "$dir/password"
$as "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
    -c max_connections=300 "$@" >"$dir/log" 2>&1 </dev/null &
pid=$!
tries=0
# The last line of its file of state says so, of this server and no other that may have taken the port.
until grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || refuse "postgres: $(tail -1 "$dir/log")"
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || refuse "postgres was not ready in time: $(tail -1 "$dir/log")"
    sleep 0.1
done
echo ready
read -r _ || true
