/* server/site.h: the site: domains -> app paths -> apps, immutable once built.
 *
 * A deploy builds the next site beside the running one and hands a reference to every loop; the last
 * loop to let go frees it, so a deploy never waits for a slow one. Matching takes no lock: at most one
 * hash look-up for each depth at which the domain has apps.
 *
 * 1. Domains are lower-case, without port and trailing dot; "127.0.0.1" and "[::1]" stand for "localhost".
 * 2. Paths start with "/" and, but for the root, have no trailing "/".
 * 3. After site_seal() nothing in a site changes but its reference count, and the index of site_find(), which has a lock.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_SITE_H
#define SERVER_SITE_H

#include "app.h"
#include "auth.h"
#include "base.h"

struct site;

/* One app of the site. */
struct site_app {
    struct str domain;     /* effective: the app's own or the default domain */
    struct str path;       /* "/" or "/a/b" */
    struct app_slot *slot; /* owned reference */
    struct auth_rule rule;
    bool is_write_gated; /* a stage or preview app without write access: only GET, HEAD, OPTIONS to proxies */
};

/* An empty site for apps whose own domain is empty to be served on `default_domain`. */
struct site *site_new(struct str default_domain, bool fallback_unknown_domains);
struct arena *site_arena(struct site *site);
/* Adds an app; `app->slot` becomes the site's (its reference is taken over). Domain and path are copied and
 * normalised. A second app at the same place replaces the first. */
void site_add(struct site *site, const struct site_app *app);
void site_seal(struct site *site);
struct site *site_ref(struct site *site);
void site_unref(struct site *site);

/* The app that serves `path` on `host` (as in the Host header, without port), or NULL. `path` is the
 * canonical request path: decoded, cleaned, starting with "/". */
const struct site_app *site_match(const struct site *site, struct str host, struct str path);
/* True if some app lives on `host` or it is the default domain. */
bool site_has_domain(const struct site *site, struct str host);
/* The app with this id, or NULL. The first call makes an index; any thread but a loop's. */
const struct site_app *site_find(const struct site *site, struct str app_id);
size_t site_len(const struct site *site);
/* Every app, in the order added: for (i = 0; i < site_len(s); i++) site_at(s, i) */
const struct site_app *site_at(const struct site *site, size_t i);

#endif
