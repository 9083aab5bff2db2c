/* bench/serve.c: the smallest server on the http module, for load tests: answers 128 bytes to everything.
 *
 *     bench_serve PORT [LOOPS] [reuseport|handoff] [CERT KEY]
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static char body[128];

static void on_request(struct http_req *req, void *arg)
{
    (void)arg;
    http_reply(req, 200, STR("text/plain"), str_of(body, sizeof body));
}

static struct http_cert *pick(struct http_loop *loop, struct str name, void *arg)
{
    (void)loop, (void)name;
    return arg;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_serve PORT [LOOPS] [reuseport|handoff] [CERT KEY]\n");
        return 2;
    }
    memset(body, 'x', sizeof body);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    scoped_err err = {0};
    struct http_loops *loops = http_loops_open(argc > 2 ? (unsigned)atoi(argv[2]) : 1, &err);
    struct http_cert *cert = loops && argc > 5 ? http_cert_load(argv[4], argv[5], &err) : NULL;
    struct http_tls *tls = cert ? http_tls_open(pick, cert, &err) : NULL;
    struct http_server *server = loops && !err_is_set(&err) ? http_server_open(loops, NULL) : NULL;
    struct http_listen cfg = {
        .host = STR("127.0.0.1"),
        .port = atoi(argv[1]),
        .tls = tls,
        .accept = argc > 3 && strcmp(argv[3], "handoff") == 0 ? HTTP_ACCEPT_HANDOFF : HTTP_ACCEPT_REUSEPORT,
        .handler = {on_request, NULL},
    };
    if (!server || !http_listen(server, &cfg, &err)) {
        fprintf(stderr, "bench_serve: %s\n", err_msg(&err));
        return 1;
    }
    int sig;
    sigwait(&ends, &sig);
    http_server_close(server);
    http_tls_close(tls);
    http_cert_unref(cert);
    http_loops_close(loops);
    return 0;
}
