/* Run a command again and again and time each run, from spawn to having reaped it.
 *
 *   spawn COUNT IN_FLIGHT COMMAND ARGUMENT...
 *
 * "{}" in an argument becomes a name that no other run has. Output goes to /dev/null, errors stay visible.
 * Prints the nanoseconds of each run, one a line, and at last those of all together. Static, so that it can be
 * put into any root file system. A run that fails ends everything.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static pid_t start(char **arguments, int count, int number)
{
	char *copy[count + 1], name[64];
	posix_spawn_file_actions_t actions;
	pid_t pid;
	snprintf(name, sizeof name, "bench-%d-%d", getpid(), number);
	for (int i = 0; i < count; i++)
		copy[i] = strcmp(arguments[i], "{}") ? arguments[i] : name;
	copy[count] = NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, copy[0], &actions, NULL, copy, environ)) {
		fprintf(stderr, "spawn: cannot start %s\n", copy[0]);
		exit(1);
	}
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: spawn COUNT IN_FLIGHT COMMAND ARGUMENT...\n");
		return 2;
	}
	int count = atoi(argv[1]), in_flight = atoi(argv[2]), started = 0;
	struct {
		pid_t pid;
		long start;
	} running[in_flight];
	memset(running, 0, sizeof running);
	long begin = now();
	for (int done = 0; done < count; done++) {
		for (int i = 0; i < in_flight && started < count; i++)
			if (!running[i].pid) {
				running[i].start = now();
				running[i].pid = start(argv + 3, argc - 3, started++);
			}
		int status;
		pid_t pid = wait(&status);
		for (int i = 0; i < in_flight; i++)
			if (running[i].pid == pid) {
				printf("%ld\n", now() - running[i].start);
				running[i].pid = 0;
			}
		if (status) {
			fprintf(stderr, "spawn: %s failed with status %d\n", argv[3], status);
			return 1;
		}
	}
	printf("%ld\n", now() - begin);
	return 0;
}
