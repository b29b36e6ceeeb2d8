#!/bin/sh
# What an image of postgres does before its server starts: never as root; and on the first start makes the
# database that the environment asks for and runs the scripts that the image brings.
set -e
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
	chown postgres:postgres "$PGDATA"
	exec su -s /bin/sh postgres -c 'exec "$0" "$@"' -- "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
	if [ -z "$POSTGRES_PASSWORD" ]; then
		echo "Error: Database is uninitialized and superuser password is not specified." >&2
		exit 1
	fi
	export POSTGRES_USER="${POSTGRES_USER:-postgres}"
	export POSTGRES_DB="${POSTGRES_DB:-$POSTGRES_USER}"
	echo "$POSTGRES_PASSWORD" >/tmp/password
	initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256 \
		--no-sync --no-locale --encoding UTF8
	rm /tmp/password
	echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
	pg_ctl start --wait --options "-c listen_addresses=''"
	psql="psql -v ON_ERROR_STOP=1 --no-psqlrc --username $POSTGRES_USER --dbname"
	[ "$POSTGRES_DB" = postgres ] || $psql postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
	for script in /docker-entrypoint-initdb.d/*; do
		case $script in
		*.sh) "$script" ;;
		*.sql) $psql "$POSTGRES_DB" -f "$script" ;;
		esac
	done
	pg_ctl stop --wait --mode fast
	echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@"
