/* bench/proxy_server.c: the reverse proxy alone, for load tests: everything goes to one upstream, with the header work
 * that an app's proxy does.
 *
 *     bench_proxy_server PORT UPSTREAM_URL [LOOPS]
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct http_upstream to;

/* As an app's handler does: options of the request are made in its arena. */
static void on_request(struct http_req *req, void *arg)
{
    struct http_proxy_opts *o = arena_new(req->arena, struct http_proxy_opts);
    struct http_pair *set = arena_array(req->arena, struct http_pair, 4);
    struct str peer = http_req_peer(req);
    set[0] = (struct http_pair){STR("X-Real-IP"), peer};
    set[1] = (struct http_pair){STR("X-Forwarded-For"), peer};
    set[2] = (struct http_pair){STR("X-Forwarded-Host"), req->host};
    set[3] = (struct http_pair){STR("X-Forwarded-Proto"), STR("http")};
    o->set = set;
    o->set_count = 4;
    o->drop = http_proxy_drop_forwarded;
    o->drop_count = http_proxy_drop_forwarded_count;
    o->rewrite_location = true;
    http_proxy(req, &to, o);
}

int main(int argc, char **argv)
{
    scoped_arena arena = {0};
    scoped_err err = {0};
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    if (argc < 3) {
        fprintf(stderr, "usage: bench_proxy_server PORT UPSTREAM_URL [LOOPS]\n");
        return 2;
    }
    struct http_loops *loops = NULL;
    struct http_server *server = NULL;
    if (http_upstream_parse(&arena, str_from(argv[2]), false, &to, &err))
        loops = http_loops_open(argc > 3 ? (unsigned)atoi(argv[3]) : 1, &err);
    if (loops)
        server = http_server_open(loops, NULL);
    if (!server || !http_listen(server, &(struct http_listen){.host = STR("127.0.0.1"), .port = atoi(argv[1]),
                                                              .handler = {on_request, NULL}, .setting = "PORT"}, &err)) {
        fprintf(stderr, "bench_proxy_server: %s\n", err_msg(&err));
        return 1;
    }
    int sig;
    sigwait(&ends, &sig);
    http_server_close(server);
    http_loops_close(loops);
    return 0;
}
