#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the Streamlit app, or Streamlit's demo when app_file is "hello".
set -eu
[ ! -f .venv/note ] || cat .venv/note
file=${app_file:-streamlit_app.py}
if [ "$file" = hello ]; then set -- hello; else set -- run "$file"; fi
exec streamlit "$@" --server.address=0.0.0.0 --server.port="${PORT:-8501}" --server.headless=true \
    --server.baseUrlPath="${CL_APP_PATH:-/}" --browser.gatherUsageStats=false
