/* Tries to get hold of every other process of its pid namespace but init, for ever, in all ways there are;
 * given a name, of those processes alone that are called so.
 * Says "tried NAME" of each once, and "reached NAME HOW" of those it got. Built static by the tests. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_of(int pid, const char *name, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, flags | O_CLOEXEC);
}

static void say(const char *what, int pid, const char *how) {
    char name[32] = "?";
    int fd = open_of(pid, "comm", O_RDONLY);
    if (fd >= 0) read(fd, name, sizeof name - 1);
    close(fd);
    name[strcspn(name, "\n")] = 0;
    printf("%s %s %s\n", what, name, how);
}

static void reached(int pid, const char *how) { say("reached", pid, how); }

static void try_file(int pid, const char *name, int flags) {
    char byte;
    int fd = open_of(pid, name, flags);
    if (fd < 0) return;
    if (flags != O_RDONLY || read(fd, &byte, 1) == 1) reached(pid, name);
    close(fd);
}

static void try(int pid) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    kill(pid, SIGSTOP); /* it stays as it is for a while */
    try_file(pid, "mem", O_RDWR);
    try_file(pid, "maps", O_RDONLY);
    try_file(pid, "environ", O_RDONLY);
    try_file(pid, "auxv", O_RDONLY);
    try_file(pid, "exe", O_PATH);
    try_file(pid, "cwd", O_PATH);
    try_file(pid, "fd/0", O_PATH);
    try_file(pid, "ns/mnt", O_RDONLY | O_NONBLOCK);
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT) reached(pid, "process_vm_readv");
    if (process_vm_writev(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT)
        reached(pid, "process_vm_writev");
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    for (int fd = 0; pidfd >= 0 && fd < 8; fd++) {
        int got = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
        if (got >= 0) reached(pid, "pidfd_getfd");
        if (got >= 0) close(got);
    }
    close(pidfd);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        reached(pid, "ptrace");
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
    kill(pid, SIGCONT);
}

static int is_called(int pid, const char *wanted) {
    char name[32] = "";
    int fd = open_of(pid, "comm", O_RDONLY);
    if (fd >= 0) read(fd, name, sizeof name - 1);
    close(fd);
    name[strcspn(name, "\n")] = 0;
    return strcmp(name, wanted) == 0;
}

int main(int argc, char **argv) {
    int last = 0;
    setlinebuf(stdout);
    for (;;) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid()) continue;
            if (argc > 1 && !is_called(pid, argv[1])) continue;
            if (pid != last) say("tried", pid, "");
            try(last = pid);
        }
        closedir(proc);
    }
}
