/* http/listen.c: makes listening sockets, with errors that say what to do.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int tcp_socket(const struct addrinfo *ai, bool has_reuseport)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Connections inherit it, which saves a system call for each. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (ai->ai_family == AF_INET6) {
        bool is_any = IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)(void *)ai->ai_addr)->sin6_addr);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_any ? &off : &on, sizeof on);
    }
    if (has_reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool bind_error(const struct http_listen *cfg, struct err *err)
{
    const char *setting = cfg->setting ? cfg->setting : "the port";
    switch (errno) {
    case EADDRINUSE:
        return err_set(err, ERR_CONFLICT, "port %d is in use: stop the program that listens there or set %s",
                       cfg->port, setting);
    case EACCES:
        return err_set(err, ERR_FORBIDDEN,
                       "port %d needs more rights: set %s to a port from 1024 on, or give the program "
                       "CAP_NET_BIND_SERVICE",
                       cfg->port, setting);
    case EADDRNOTAVAIL:
        return err_set(err, ERR_INVALID,
                       "the address " STR_FMT " is not one of this machine: correct the host of %s",
                       STR_ARG(cfg->host), setting);
    default:
        return err_set_errno(err, errno, "listening on " STR_FMT " port %d", STR_ARG(cfg->host), cfg->port);
    }
}

static void set_port(struct addrinfo *ai, int port)
{
    if (ai->ai_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)ai->ai_addr)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)ai->ai_addr)->sin_port = htons((uint16_t)port);
}

static int port_of(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        return 0;
    if (ss.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&ss)->sin6_port);
    if (ss.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)(void *)&ss)->sin_port);
    return 0;
}

/* SO_REUSEPORT would let two servers of one user share a port in silence; a bind without it, first, meets
 * whoever listens there. */
static bool probe_port(const struct addrinfo *ai, const struct http_listen *cfg, struct err *err)
{
    scoped_fd int fd = tcp_socket(ai, false);
    if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0)
        return bind_error(cfg, err);
    return true;
}

/* `n` sockets on one address. Fills fds[*count...] and advances *count. */
static bool bind_address(struct addrinfo *ai, const struct http_listen *cfg, unsigned n, int *port, int *fds,
                         unsigned *count, struct err *err)
{
    set_port(ai, *port);
    if (n > 1 && *port != 0 && !probe_port(ai, cfg, err))
        return false;
    for (unsigned i = 0; i < n; i++) {
        scoped_fd int fd = tcp_socket(ai, n > 1);
        if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
            return bind_error(cfg, err);
        if (*port == 0) {
            *port = port_of(fd);
            set_port(ai, *port);
        }
        fds[(*count)++] = fd;
        fd = -1;
    }
    return true;
}

static struct addrinfo *resolve(const struct http_listen *cfg, struct err *err)
{
    char host[256] = "::";
    bool is_any = cfg->host.len == 0 || str_eq(cfg->host, STR("0.0.0.0"));
    if (cfg->host.len >= sizeof host) {
        err_set(err, ERR_INVALID, "a host name of %zu bytes", cfg->host.len);
        return NULL;
    }
    if (!is_any) {
        memcpy(host, cfg->host.ptr, cfg->host.len);
        host[cfg->host.len] = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    if (is_any) {
        /* One IPv6 socket takes both, unless the kernel has no IPv6. */
        scoped_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            memcpy(host, "0.0.0.0", 8);
    }
    int failed = getaddrinfo(host, "0", &hints, &list);
    if (failed) {
        err_set(err, ERR_INVALID, "looking up the host " STR_FMT " to listen on: %s", STR_ARG(cfg->host),
                gai_strerror(failed));
        return NULL;
    }
    return list;
}

static bool is_same_address(const struct addrinfo *a, const struct addrinfo *b)
{
    return a->ai_addrlen == b->ai_addrlen && memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) == 0;
}

static bool listen_tcp(const struct http_listen *cfg, unsigned per_address, struct sockets *out,
                       struct err *err)
{
    struct addrinfo *list = resolve(cfg, err);
    if (!list)
        return false;
    bool ok = true;
    int port = cfg->port;
    unsigned addresses = 0;
    for (struct addrinfo *ai = list; ok && ai && addresses < ADDRESSES_MAX; ai = ai->ai_next) {
        if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) ||
            (ai != list && is_same_address(ai, list)))
            continue;
        ok = bind_address(ai, cfg, per_address, &port, out->fds, &out->len, err);
        /* A name may stand for an address of a family that is not up (::1 for localhost). */
        if (!ok && err->code == ERR_INVALID && (addresses > 0 || ai->ai_next)) {
            err_release(err);
            ok = true;
            continue;
        }
        addresses++;
    }
    freeaddrinfo(list);
    if (ok && out->len == 0)
        ok =
            err_set(err, ERR_INVALID, "the host " STR_FMT " has no address to listen on", STR_ARG(cfg->host));
    out->port = port;
    return ok;
}

/* True if somebody answers at the unix address. */
static bool is_alive(const struct sockaddr_un *addr)
{
    scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* EAGAIN: the backlog is full, so somebody listens. */
    return fd >= 0 && (connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 || errno == EAGAIN);
}

static bool listen_unix(const struct http_listen *cfg, struct sockets *out, struct err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(cfg->unix_path);
    if (len == 0 || len >= sizeof addr.sun_path)
        return err_set(err, ERR_INVALID, "the socket path %s is longer than %zu bytes: use a shorter one",
                       cfg->unix_path, sizeof addr.sun_path - 1);
    memcpy(addr.sun_path, cfg->unix_path, len);
    scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "making a unix socket");
    /* Linux gives the file the socket's own mode, so it is never open to others, not even for a moment. */
    fchmod(fd, 0600);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0) {
        struct stat st;
        if (errno != EADDRINUSE)
            return err_set_errno(err, errno, "making the socket %s", cfg->unix_path);
        if (lstat(cfg->unix_path, &st) == 0 && !S_ISSOCK(st.st_mode))
            return err_set(err, ERR_CONFLICT, "%s exists and is no socket: remove it", cfg->unix_path);
        if (is_alive(&addr))
            return err_set(err, ERR_CONFLICT, "error creating socket, another server already running at %s",
                           cfg->unix_path);
        if (unlink(cfg->unix_path) != 0 || bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0)
            return err_set_errno(err, errno, "replacing the stale socket %s", cfg->unix_path);
    }
    if (chmod(cfg->unix_path, 0600) != 0 || listen(fd, BACKLOG) != 0)
        return err_set_errno(err, errno, "listening on %s", cfg->unix_path);
    out->fds[out->len++] = fd;
    fd = -1;
    return true;
}

static bool take_inherited(const struct http_listen *cfg, struct sockets *out, struct err *err)
{
    if (cfg->inherited_count > SOCKETS_MAX)
        return err_set(err, ERR_INVALID, "%u inherited sockets, at most %d", cfg->inherited_count,
                       SOCKETS_MAX);
    for (unsigned i = 0; i < cfg->inherited_count; i++) {
        int fd = cfg->inherited_fds[i], is_listening = 0;
        socklen_t len = sizeof is_listening;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0 || !is_listening)
            return err_set(err, ERR_INVALID, "the inherited descriptor %d is no listening socket", fd);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    memcpy(out->fds, cfg->inherited_fds, cfg->inherited_count * sizeof *cfg->inherited_fds);
    out->len = cfg->inherited_count;
    out->port = port_of(out->fds[0]);
    return true;
}

bool sockets_open(const struct http_listen *cfg, unsigned per_address, struct sockets *out, struct err *err)
{
    *out = (struct sockets){0};
    if (cfg->inherited_count > 0)
        return take_inherited(cfg, out, err);
    bool ok = cfg->unix_path ? listen_unix(cfg, out, err) : listen_tcp(cfg, per_address, out, err);
    if (!ok) {
        for (unsigned i = 0; i < out->len; i++)
            close(out->fds[i]);
        out->len = 0;
    }
    return ok;
}
