#!/bin/sh
# Replaces the running servers of docker-compose.production.yml by ones with the code as it is now; no request is lost.
# New servers are started in addition to the old ones, and the old ones are stopped when the new ones are ready.
set -eu
export COMPOSE_FILE="${COMPOSE_FILE:-docker-compose.yml:docker-compose.production.yml}"

# NGINX asks Docker's DNS every two seconds. One before 1.27.3, whose `default.conf` lacks `resolve`, must be reloaded. A
# reload closes the connections that clients keep open, and a request that is sent at this moment is lost.
let_nginx_ask() {
    nginx='docker compose exec -T nginx'
    $nginx grep -q ' resolve ' /etc/nginx/conf.d/default.conf || $nginx nginx -s reload
    sleep 4
}

docker compose build web
old=$(docker compose ps --quiet web)
twice=$(($(echo "$old" | wc -w) * 2))
docker compose up --detach --no-deps --no-recreate --wait --scale "web=$twice" web
let_nginx_ask
# shellcheck disable=SC2086
docker stop --time 40 $old
# shellcheck disable=SC2086
docker rm $old
let_nginx_ask
docker compose up --detach --no-deps worker
