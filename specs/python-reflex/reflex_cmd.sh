#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts the database's migrations, the web server, redis and then the backend.
set -eu
[ ! -d alembic ] || reflex db migrate
caddy start --config Caddyfile --adapter caddyfile
redis-server --daemonize yes --save "" --dir /tmp
exec reflex run --env prod --backend-only
