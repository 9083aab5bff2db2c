#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# hono_cmd.sh install | build | start | dev: uses the scripts of package.json where they exist. An app without a start
# script gets a server for the Hono app that src/index.* exports, bundled to dist/openrun-server.mjs.
set -eu
export BASE_PATH="${BASE_PATH:-${CL_APP_PATH:-/}}"

has_script() {
    node -e 'const s = require("./package.json").scripts || {}; process.exit(s[process.argv[1]] ? 0 : 1)' "$1"
}

# The packages of package.json, and those of the generated server if there will be one.
install() {
    if [ -f package-lock.json ]; then npm ci; else npm install; fi
    has_script start || npm install --no-save --no-audit --no-fund @hono/node-server esbuild
}

bundle_server() {
    for entry in src/index.tsx src/index.ts src/index.jsx src/index.js none; do
        [ ! -f "$entry" ] || break
    done
    if [ "$entry" = none ]; then
        echo "package.json has no start script, and there is no src/index.tsx, .ts, .jsx or .js to serve" >&2
        exit 1
    fi
    mkdir -p dist
    cat >.openrun-server.mjs <<END
import { serve } from "@hono/node-server";
import app from "./$entry";
serve({ fetch: app.fetch, port: Number(process.env.PORT || 3000), hostname: "0.0.0.0" });
END
    npx esbuild .openrun-server.mjs --bundle --platform=node --format=esm --jsx=automatic --jsx-import-source=hono/jsx \
        --banner:js='import { createRequire as orRequire } from "module"; const require = orRequire(import.meta.url);' \
        --outfile=dist/openrun-server.mjs
    rm .openrun-server.mjs
}

case $1 in
install)
    install
    ;;
build)
    if has_script build; then npm run build; fi
    if ! has_script start; then bundle_server; fi
    ;;
start)
    if has_script start; then exec npm run start; fi
    exec node dist/openrun-server.mjs
    ;;
dev)
    install
    if has_script dev; then exec npm run dev; fi
    sh "$0" build
    exec sh "$0" start
    ;;
*)
    echo "usage: hono_cmd.sh install | build | start | dev" >&2
    exit 2
    ;;
esac
