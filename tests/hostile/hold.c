/* Traces every other process of its pid namespace but init, and never waits for it: a zombie of them stays one
 * until we end (ptrace(2)). Given a name, traces those processes alone that are called so.
 * Says "held NAME" of each. Built static by the tests. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

static void read_name(int pid, char name[32]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, name, 31);
    name[size < 0 ? 0 : size] = 0;
    name[strcspn(name, "\n")] = 0;
    close(fd);
}

int main(int argc, char **argv) {
    char name[32];
    setlinebuf(stdout);
    for (;;) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid()) continue;
            read_name(pid, name);
            if (argc > 1 && strcmp(name, argv[1])) continue;
            if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) printf("held %s\n", name);
        }
        closedir(proc);
        usleep(1000);
    }
}
