#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs uvicorn. An app that cannot be imported ends the container with what Python says of it: uvicorn with several
# workers would start them again and again.
set -eu
[ ! -f .venv/note ] || cat .venv/note
app=${APP_MODULE:-app:app}
# Asked once in each container, so that waking one that was stopped takes no longer.
if [ ! -f /tmp/app-loads ]; then
    python -c 'import sys; from uvicorn.importer import import_from_string as load; load(sys.argv[1])' "$app"
    : >/tmp/app-loads
fi
exec uvicorn --root-path "${CL_APP_PATH:-}" --host 0.0.0.0 --port "${PORT:-5000}" --proxy-headers \
    --forwarded-allow-ips '*' --workers "${WORKERS:-2}" "$app"
