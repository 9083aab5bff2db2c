/* tests/http/fake_server.h: a server in a thread that plays a script against each connection.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fake_server;
/* Plays one connection, the `nth` (from 0) this server accepted; the caller closes `fd` afterwards. */
typedef void fake_script(struct fake_server *s, int fd, int nth);

struct fake_server {
    fake_script *script;
    void *arg;
    int listener, port;
    char path[108];               /* of a unix server */
    pthread_t thread;
    atomic_int connections;
    atomic_bool is_stopping;
    pthread_t conns[4096];
};

struct fake_conn {
    struct fake_server *server;
    int fd, nth;
};

static inline void *fake_play(void *arg)
{
    struct fake_conn *c = arg;
    c->server->script(c->server, c->fd, c->nth);
    shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
    free(c);
    return NULL;
}

static inline void *fake_accept(void *arg)
{
    struct fake_server *s = arg;
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || atomic_load(&s->is_stopping)) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        int n = atomic_load(&s->connections);
        if (n >= (int)ARRAY_LEN(s->conns))
            abort();
        struct fake_conn *c = xmalloc(sizeof *c);
        *c = (struct fake_conn){s, fd, n};
        if (pthread_create(&s->conns[n], NULL, fake_play, c) != 0)
            abort();
        atomic_store(&s->connections, n + 1);
    }
}

/* Starts listening, on `path` when not NULL, else on a free port of 127.0.0.1. */
static inline void fake_start(struct fake_server *s, fake_script *script, void *arg, const char *path)
{
    *s = (struct fake_server){.script = script, .arg = arg};
    if (path) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
        snprintf(s->path, sizeof s->path, "%s", path);
        unlink(path);
        s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(s->listener, (struct sockaddr *)&un, sizeof un) != 0)
            abort();
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof in;
        s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(s->listener, (struct sockaddr *)&in, sizeof in) != 0
            || getsockname(s->listener, (struct sockaddr *)&in, &len) != 0)
            abort();
        s->port = ntohs(in.sin_port);
    }
    if (listen(s->listener, 64) != 0 || pthread_create(&s->thread, NULL, fake_accept, s) != 0)
        abort();
}

/* Stops accepting and waits for every script to end: scripts end when their peer has gone. */
static inline void fake_stop(struct fake_server *s)
{
    atomic_store(&s->is_stopping, true);
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    for (int i = 0; i < atomic_load(&s->connections); i++)
        pthread_join(s->conns[i], NULL);
    if (s->path[0])
        unlink(s->path);
}

/* Reads up to and including the blank line after a head, NUL-terminated; 0 at end of file. A byte at a
 * time, so that nothing beyond it is taken. */
static inline size_t fake_read_head(int fd, char *buf, size_t cap)
{
    size_t n = 0;
    while (n + 1 < cap && read(fd, buf + n, 1) == 1) {
        n++;
        if (n >= 4 && memcmp(buf + n - 4, "\r\n\r\n", 4) == 0) {
            buf[n] = '\0';
            return n;
        }
    }
    buf[n] = '\0';
    return 0;
}

static inline bool fake_read_all(int fd, void *buf, size_t len)
{
    for (size_t n = 0; n < len;) {
        ssize_t r = read(fd, (char *)buf + n, len - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        n += (size_t)r;
    }
    return true;
}

static inline bool fake_write_all(int fd, const void *buf, size_t len)
{
    for (size_t n = 0; n < len;) {
        ssize_t w = send(fd, (const char *)buf + n, len - n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        n += (size_t)w;
    }
    return true;
}

static inline bool fake_write(int fd, const char *z)
{
    return fake_write_all(fd, z, strlen(z));
}

#endif
