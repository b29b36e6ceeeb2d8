/* Stand between clients and an engine, and measure whose turn it takes how long.
 *
 *   spy LISTEN TARGET
 *
 * Both are paths of unix sockets; connections to the one are carried on to the other. Of the time between two
 * pieces of any connection, whoever sends the second has it: the other one waited. What only answers for HTTP/2
 * itself (SETTINGS, PING, WINDOW_UPDATE) is carried but not counted. A line on stdin ends a measurement: two
 * numbers are printed, the nanoseconds of the engine and of the clients since the last line, from the first
 * piece to the last. With SPY_TRACE in the environment every piece is told of on stderr.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST 256
#define PIECE (256 << 10)

enum { CLIENT, ENGINE };

static struct pollfd polled[2 + 2 * MOST]; /* stdin, the listener, then pairs: the client's end, the engine's */
static unsigned char piece[PIECE];
static long last, taken[2];

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	return a;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* Whether it is whole frames of HTTP/2, none of which says anything of a call (RFC 9113, 4.1 and 6). */
static int is_upkeep(const unsigned char *at, long size)
{
	while (size >= 9) {
		long length = at[0] << 16 | at[1] << 8 | at[2];
		if ((at[3] != 4 && at[3] != 6 && at[3] != 8) || length > 64)
			return 0;
		at += 9 + length;
		size -= 9 + length;
	}
	return size == 0;
}

static void trace(int pair, int who, long size, long gap, int counted)
{
	fprintf(stderr, "%8.2f ms %d %s %6ld%s ", gap / 1e6, pair, who == CLIENT ? ">" : "<", size, counted ? "" : " -");
	for (long i = 0; i < size && i < 150; i++)
		if (isprint(piece[i]))
			fputc(piece[i], stderr);
	fputc('\n', stderr);
}

static void carry_on(const char *target)
{
	struct sockaddr_un there = address(target);
	int client = accept4(polled[1].fd, NULL, NULL, SOCK_CLOEXEC), engine;
	if (client < 0)
		die("spy: accept");
	engine = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(engine, (struct sockaddr *)&there, sizeof there))
		die("spy: connect");
	for (int i = 2; i < 2 + 2 * MOST; i += 2)
		if (polled[i].fd < 0 && polled[i + 1].fd < 0) {
			polled[i] = (struct pollfd){.fd = client, .events = POLLIN};
			polled[i + 1] = (struct pollfd){.fd = engine, .events = POLLIN};
			return;
		}
	fprintf(stderr, "spy: too many connections\n");
	exit(1);
}

/* One piece of what the end `i` has sent; at its end both go. */
static void carry(int i, int tell)
{
	int who = i % 2 ? ENGINE : CLIENT, other = i ^ 1;
	long size = read(polled[i].fd, piece, sizeof piece), time = now(), gap = last ? time - last : 0;
	int counted = size > 0 && !is_upkeep(piece, size);
	if (tell)
		trace(i / 2 - 1, who, size, gap, counted);
	if (counted) {
		taken[who] += gap;
		last = time;
	}
	for (long sent = 0, more; sent < size; sent += more)
		if ((more = send(polled[other].fd, piece + sent, size - sent, MSG_NOSIGNAL)) < 0) {
			size = 0; /* the other end has gone */
			break;
		}
	if (size > 0)
		return;
	close(polled[i].fd);
	close(polled[other].fd);
	polled[i].fd = polled[other].fd = -1;
}

int main(int argc, char **argv)
{
	char line[64];
	int tell = getenv("SPY_TRACE") != NULL;
	if (argc != 3) {
		fprintf(stderr, "usage: spy LISTEN TARGET\n");
		return 2;
	}
	for (int i = 0; i < 2 + 2 * MOST; i++)
		polled[i].fd = -1;
	struct sockaddr_un here = address(argv[1]);
	polled[0] = (struct pollfd){.fd = 0, .events = POLLIN};
	polled[1] = (struct pollfd){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = POLLIN};
	if (bind(polled[1].fd, (struct sockaddr *)&here, sizeof here) || listen(polled[1].fd, 64))
		die("spy: listen");
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		if (poll(polled, 2 + 2 * MOST, -1) < 0)
			die("spy: poll");
		for (int i = 2; i < 2 + 2 * MOST; i++)
			if (polled[i].fd >= 0 && polled[i].revents)
				carry(i, tell);
		if (polled[1].revents)
			carry_on(argv[2]);
		if (polled[0].revents) {
			if (!fgets(line, sizeof line, stdin))
				return 0;
			printf("%ld %ld\n", taken[ENGINE], taken[CLIENT]);
			fflush(stdout);
			last = taken[CLIENT] = taken[ENGINE] = 0;
		}
	}
}
