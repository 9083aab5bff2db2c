#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the Gradio app at the path and port that it is served at.
set -eu
[ ! -f .venv/note ] || cat .venv/note
export GRADIO_ROOT_PATH="${CL_APP_PATH:-}" GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT="${PORT:-7860}"
exec python "${app_file:-run.py}"
