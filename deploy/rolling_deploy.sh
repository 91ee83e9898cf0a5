#!/bin/sh
# Replaces the running servers of docker-compose.production.yml by ones with the code as it is now; no request is lost.
# New servers are started in addition to the old ones, and the old ones are stopped when the new ones are ready.
set -eu
export COMPOSE_FILE="${COMPOSE_FILE:-docker-compose.yml:docker-compose.production.yml}"

docker compose build web
old=$(docker compose ps --quiet web)
twice=$(($(echo "$old" | wc -w) * 2))
docker compose up --detach --no-deps --no-recreate --wait --scale "web=$twice" web
docker compose exec -T nginx nginx -s reload
sleep 3 # until NGINX has asked Docker's DNS again
# shellcheck disable=SC2086
docker stop --time 40 $old
# shellcheck disable=SC2086
docker rm $old
docker compose exec -T nginx nginx -s reload
docker compose up --detach --no-deps worker
