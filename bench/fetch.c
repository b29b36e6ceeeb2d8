/* Fetch the same thing over and over on kept-alive connections: fetch PORT PATH CONNECTIONS SECONDS
 *
 * Prints bytes of bodies, answers, failures and seconds (failures: connections that ended, answers that are not 200). One thread, epoll;
 * what comes is read in pieces of 256 KiB and thrown away. The clock starts when all connections stand.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 << 10)
#define HEAD (8 << 10)

struct connection {
	int fd;
	long long left; /* bytes of the body that are still to come; -1: in the head */
	size_t filled;
	char head[HEAD];
};

static char request[4096], piece[PIECE];
static size_t request_length;
static long long bytes, answers, failures;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void ask(struct connection *c)
{
	c->left = -1;
	c->filled = 0;
	if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
		c->left = -2;
}

/* Look for the head's end; what is behind it counts as body. 0: it is not there yet; -1: no good answer. */
static int parse(struct connection *c)
{
	char *end, *length;
	c->head[c->filled] = 0;
	if (!(end = strstr(c->head, "\r\n\r\n")))
		return c->filled < HEAD - 1 ? 0 : -1;
	length = strcasestr(c->head, "\r\nContent-Length:");
	if (strncmp(c->head, "HTTP/1.1 200 ", 13) || !length || length > end)
		return -1;
	c->left = atoll(length + 17) - (c->head + c->filled - (end + 4));
	bytes += c->head + c->filled - (end + 4);
	return 1;
}

/* Take what has come. -1: this connection is of no use any more. */
static int take(struct connection *c)
{
	for (;;) {
		ssize_t n;
		if (c->left < 0)
			n = recv(c->fd, c->head + c->filled, HEAD - 1 - c->filled, MSG_DONTWAIT);
		else
			n = recv(c->fd, piece, c->left < PIECE ? c->left : PIECE, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		if (c->left < 0) {
			c->filled += n;
			int found = parse(c);
			if (found < 0)
				return -1;
			if (!found)
				continue;
		} else {
			c->left -= n;
			bytes += n;
		}
		if (c->left == 0) {
			answers++;
			ask(c);
			if (c->left == -2)
				return -1;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int count = atoi(argv[3]), epoll = epoll_create1(0), live = count;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
	struct connection *all = calloc(count, sizeof *all);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
	for (int i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
		all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(all[i].fd, (struct sockaddr *)&address, sizeof address))
			return perror("connect"), 1;
		epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	double start = now(), end = start + atof(argv[4]), at;
	for (int i = 0; i < count; i++)
		ask(&all[i]);
	while (live && (at = now()) < end) {
		struct epoll_event events[64];
		int ready = epoll_wait(epoll, events, 64, (end - at) * 1000 + 1);
		for (int i = 0; i < ready; i++) {
			struct connection *c = events[i].data.ptr;
			if (take(c) < 0) {
				failures++;
				live--;
				close(c->fd);
			}
		}
	}
	printf("%lld %lld %lld %.6f\n", bytes, answers, failures, now() - start);
	return 0;
}
