#!/bin/sh
# Starts PgBouncer in transaction mode in front of PostgreSQL, for docker-compose.pgbouncer-server.yml.
set -eu
umask 077
folder=${CONFIGURATION_FOLDER:-/tmp}

quoted() {
    printf %s "$1" | sed 's/"/""/g'
}

password=$(cat "$POSTGRES_PASSWORD_FILE")
printf '"%s" "%s"\n' "$(quoted "$POSTGRES_USER")" "$(quoted "$password")" >"$folder/users.txt"
cat >"$folder/pgbouncer.ini" <<END
[databases]
* = host=$POSTGRES_SERVER port=$POSTGRES_PORT
[pgbouncer]
listen_addr = ${HOST:-0.0.0.0}
listen_port = $PORT
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $folder/users.txt
pool_mode = transaction
default_pool_size = $POOL_SIZE
max_client_conn = $MAX_CLIENTS
log_connections = 0
log_disconnections = 0
END
exec pgbouncer "$folder/pgbouncer.ini"
