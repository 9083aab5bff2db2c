/* server/certs.h: which certificate a TLS handshake gets: files per domain, else the default one.
 *
 * A table is immutable and shared by the loops; a changed folder gives a new table, published like a site.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_CERTS_H
#define SERVER_CERTS_H

#include "base.h"
#include "http.h"

struct certs;

struct certs_config {
    struct str dir; /* https.cert_location, expanded: <domain>.crt and <domain>.key, default.crt/.key */
    struct str default_domain;
    bool enable_lookup; /* https.enable_cert_lookup: files per domain */
};

/* Reads the folder (made, 0700, if it is missing), creating or renewing the self-signed default.crt/.key
 * (ECDSA P-256, key 0600) when it is missing or ours and about to expire. A file pair that cannot be used is
 * logged and left out. Fails only without a default. */
bool certs_load(const struct certs_config *config, struct certs **out, struct err *err);
struct certs *certs_ref(struct certs *certs);
void certs_unref(struct certs *certs);
/* The certificate for server name `name` (lower case, may be empty). Borrowed from the table. */
struct http_cert *certs_pick(const struct certs *certs, struct str name);
/* A number that changes when a file in the folder is added, removed or rewritten. */
uint64_t certs_fingerprint(const struct certs_config *config);

#endif
