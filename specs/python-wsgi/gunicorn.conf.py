# SPDX-License-Identifier: Apache-2.0
"""Defaults for gunicorn behind the proxy; a file of this name in the source replaces it, options on the command
line win over both. The container is reached through the proxy alone, which sets X-Forwarded-Proto itself: trusting
it gives apps the right scheme. Nothing else of a request's environment may come from headers."""
forwarded_allow_ips = "*"
forwarder_headers = ""
worker_tmp_dir = "/dev/shm"
