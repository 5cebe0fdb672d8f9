#!/bin/sh
# A consistent copy of the data folder while service and ETL run: backup.sh /var/lib/mds /backup/mds
# It waits for a run of the ETL to end; one that wants to start meanwhile ends at once and says why.
set -eu
data=$1
target=$2/$(date -u +%Y%m%dT%H%M%SZ)
umask 077
[ ! -e "$target" ] || { echo "$target is there already" >&2; exit 1; }
mkdir -p "$2"
flock --shared "$data/etl.lock" cp -a "$data" "$target.part"
# the users' file changes without that lock: SQLite itself copies it
if [ -e "$data/users.sqlite" ]; then
    rm -f "$target.part"/users.sqlite*
    python3 -c 'import sqlite3, sys
source, copy = map(sqlite3.connect, sys.argv[1:])
with copy:
    source.backup(copy)' "$data/users.sqlite" "$target.part/users.sqlite"
    chown --reference="$data/users.sqlite" "$target.part/users.sqlite"
fi
mv "$target.part" "$target"
echo "$target"
