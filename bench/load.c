/* bench/load.c: a keep-alive load generator: N connections on one epoll, one request in flight on each.
 *
 *     bench_load [-c CONNS] [-n REQUESTS] [-w WARMUP] [-p PID] [-H HEADER] ADDRESS:PORT|unix:PATH PATH
 *
 * Prints one line: requests, seconds, requests per second, latency percentiles, errors and, with -p, the CPU
 * time of process PID (all its threads) per request: the figure that does not depend on how the cores were
 * shared with the generator.
 * SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 4096, BUCKETS = 1000000 /* of 10 us: to 10 s */, BUF = 65536 };

struct conn {
    int fd;
    int64_t sent_ns;
    size_t have;    /* bytes of the current response's head so far */
    long body_left; /* -1: in the head */
    char head[4096];
};

static struct {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char request[4096];
    size_t request_len;
    long total, warmup, sent, done, errors;
    int64_t begin_ns, end_ns;
    unsigned long begin_cpu;
    int pid;
    uint32_t latency[BUCKETS];
    struct conn conns[CONNS_MAX];
} g;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* CPU nanoseconds, user and system, of all threads of process `pid`. */
static unsigned long cpu_ns(int pid)
{
    unsigned long sum = 0;
    char path[128];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        die(path);
    for (struct dirent *d; (d = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, d->d_name);
        FILE *f = d->d_name[0] == '.' ? NULL : fopen(path, "re");
        unsigned long ns;
        if (f && fscanf(f, "%lu", &ns) == 1)
            sum += ns;
        if (f)
            fclose(f);
    }
    closedir(tasks);
    return sum;
}

static void send_request(struct conn *c)
{
    if (g.sent >= g.total + g.warmup)
        return;
    if (g.sent++ == g.warmup) {
        g.begin_ns = now_ns();
        g.begin_cpu = g.pid ? cpu_ns(g.pid) : 0;
    }
    c->sent_ns = now_ns();
    c->have = 0;
    c->body_left = -1;
    if (send(c->fd, g.request, g.request_len, MSG_NOSIGNAL) != (ssize_t)g.request_len)
        die("send");
}

static void open_conn(int epoll, struct conn *c)
{
    c->fd = socket(g.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&g.addr, g.addr_len) != 0)
        die("connect");
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    send_request(c);
}

static void finish(struct conn *c)
{
    int64_t end = now_ns();
    if (g.done++ >= g.warmup) {
        int64_t bucket = (end - c->sent_ns) / 10000;
        g.latency[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
    if (g.done == g.total + g.warmup)
        g.end_ns = end;
    send_request(c);
}

/* Takes response bytes. The head must come in at most 4 KiB and have a Content-Length. */
static void take(struct conn *c, const char *data, size_t n)
{
    if (c->body_left < 0) {
        size_t part = n < sizeof c->head - 1 - c->have ? n : sizeof c->head - 1 - c->have;
        memcpy(c->head + c->have, data, part);
        size_t before = c->have;
        c->have += part;
        c->head[c->have] = '\0';
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end)
            return;
        if (strncmp(c->head + 9, "200", 3) != 0)
            g.errors++;
        char *length = strcasestr(c->head, "\r\ncontent-length:");
        c->body_left = length ? atol(length + 17) : 0;
        size_t head_part = (size_t)(end + 4 - c->head) - before;
        data += head_part;
        n -= head_part;
    }
    (void)data;
    c->body_left -= (long)n;
    if (c->body_left == 0)
        finish(c);
}

static void reopen(int epoll, struct conn *c)
{
    g.errors++;
    g.sent--;
    close(c->fd);
    open_conn(epoll, c);
}

static void parse_address(const char *text)
{
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)(void *)&g.addr;
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof un->sun_path, "%s", text + 5);
        g.addr_len = sizeof *un;
        return;
    }
    char host[64];
    const char *colon = strchr(text, ':');
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&g.addr;
    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - text) : 0, text);
    in->sin_family = AF_INET;
    g.addr_len = sizeof *in;
    if (!colon || inet_pton(AF_INET, host, &in->sin_addr) != 1) {
        fprintf(stderr, "bench_load: %s is not ADDRESS:PORT\n", text);
        exit(2);
    }
    in->sin_port = htons((uint16_t)atoi(colon + 1));
}

static double percentile(double p)
{
    uint64_t want = (uint64_t)((double)g.total * p), sum = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((sum += g.latency[i]) >= want)
            return (i + 1) / 100.0;
    return BUCKETS / 100.0;
}

int main(int argc, char **argv)
{
    int conns = 32, opt;
    const char *header = "";
    g.total = 200000;
    g.warmup = 5000;
    while ((opt = getopt(argc, argv, "c:n:w:p:H:")) != -1) {
        switch (opt) {
        case 'c': conns = atoi(optarg); break;
        case 'n': g.total = atol(optarg); break;
        case 'w': g.warmup = atol(optarg); break;
        case 'p': g.pid = atoi(optarg); break;
        case 'H': header = optarg; break;
        default: return 2;
        }
    }
    if (argc - optind != 2 || conns < 1 || conns > CONNS_MAX) {
        fprintf(stderr, "usage: bench_load [-c CONNS] [-n REQUESTS] [-w WARMUP] [-p PID] [-H HEADER] "
                        "ADDRESS:PORT PATH\n");
        return 2;
    }
    parse_address(argv[optind]);
    g.request_len =
        (size_t)snprintf(g.request, sizeof g.request,
                         "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n%s%s\r\n",
                         argv[optind + 1], header, *header ? "\r\n" : "");
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < conns; i++)
        open_conn(epoll, &g.conns[i]);
    static char block[BUF];
    struct epoll_event events[256];
    while (g.done < g.total + g.warmup) {
        int n = epoll_wait(epoll, events, 256, 5000);
        if (n == 0) {
            fprintf(stderr, "bench_load: no answer for 5 s after %ld responses\n", g.done);
            return 1;
        }
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            ssize_t got = recv(c->fd, block, sizeof block, 0);
            if (got > 0)
                take(c, block, (size_t)got);
            else if (got == 0 || errno != EAGAIN)
                reopen(epoll, c);
        }
    }
    double secs = (double)(g.end_ns - g.begin_ns) / 1e9;
    printf("%ld requests, %.2f s, %.0f/s, p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, %ld errors", g.total, secs,
           (double)g.total / secs, percentile(0.5), percentile(0.99), percentile(0.999), g.errors);
    if (g.pid)
        printf(", %.2f us CPU per request", (double)(cpu_ns(g.pid) - g.begin_cpu) / 1e3 / (double)g.total);
    printf("\n");
    return 0;
}
