/* tests/cli/fake_server.h: a management API that answers from a script and remembers what it was asked.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "base.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fake_answer {
    int status;         /* 0: close without an answer */
    const char *body;
    const char *type;   /* Content-Type; NULL: none */
};

struct fake_server {
    char home[64];      /* a new folder; the socket is run/openrun.sock in it */
    int port;           /* of 127.0.0.1, when it was started on TCP */
    int listener;
    pthread_t thread;
    const struct fake_answer *answers; /* one per connection, in order */
    size_t answer_count;
    struct buf seen;    /* all requests, whole; read it after fake_server_stop() */
};

static void fake_serve_one(struct fake_server *s, int fd, const struct fake_answer *answer)
{
    struct buf in = BUF_INIT(1 << 20);
    char chunk[4096];
    size_t want = SIZE_MAX;
    while (in.len < want) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n <= 0)
            break;
        buf_add(&in, chunk, (size_t)n);
        const char *end = strstr(buf_z(&in), "\r\n\r\n"), *length = strcasestr(buf_z(&in), "content-length:");
        if (end && want == SIZE_MAX)
            want = (size_t)(end + 4 - in.ptr) + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
    }
    buf_add_str(&s->seen, buf_str(&in));
    buf_release(&in);
    if (answer->status == 0)
        return;
    struct buf out = BUF_INIT(1 << 20);
    buf_printf(&out, "HTTP/1.1 %d X\r\n", answer->status);
    if (answer->type)
        buf_printf(&out, "Content-Type: %s\r\n", answer->type);
    buf_printf(&out, "Content-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(answer->body), answer->body);
    for (size_t at = 0; at < out.len;) {
        ssize_t n = write(fd, out.ptr + at, out.len - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    buf_release(&out);
}

static void *fake_serve(void *arg)
{
    struct fake_server *s = arg;
    for (size_t i = 0; i < s->answer_count; i++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        fake_serve_one(s, fd, &s->answers[i]);
        close(fd);
    }
    return NULL;
}

static void fake_listen_unix(struct fake_server *s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/run/openrun.sock", s->home);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(s->listener, 8) != 0)
        abort();
}

__attribute__((unused)) static void fake_listen_tcp(struct fake_server *s)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(s->listener, (struct sockaddr *)&addr, len) != 0 || listen(s->listener, 8) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&addr, &len) != 0)
        abort();
    s->port = ntohs(addr.sin_port);
}

static void fake_server_open(struct fake_server *s, const struct fake_answer *answers, size_t n,
                             void (*listen_on)(struct fake_server *))
{
    *s = (struct fake_server){.listener = -1, .answers = answers, .answer_count = n, .seen = BUF_INIT(1 << 20)};
    snprintf(s->home, sizeof s->home, "/tmp/openrun-cli-XXXXXX");
    if (!mkdtemp(s->home))
        abort();
    char path[100];
    snprintf(path, sizeof path, "%s/run", s->home);
    if (mkdir(path, 0700) != 0)
        abort();
    if (n == 0)
        return;
    listen_on(s);
    if (pthread_create(&s->thread, NULL, fake_serve, s) != 0)
        abort();
}

/* Makes the home and, with answers, listens and serves. */
static void fake_server_start(struct fake_server *s, const struct fake_answer *answers, size_t n)
{
    fake_server_open(s, answers, n, fake_listen_unix);
}

/* Ends it (no more connections are accepted) and removes the home. */
static void fake_server_stop(struct fake_server *s)
{
    if (s->answer_count > 0) {
        shutdown(s->listener, SHUT_RDWR); /* wakes an accept() that nobody came for */
        pthread_join(s->thread, NULL);
        close(s->listener);
    }
    struct err err = {0};
    if (chdir("/") != 0 || !fs_remove_tree(str_from(s->home), &err))
        abort();
}

#endif
