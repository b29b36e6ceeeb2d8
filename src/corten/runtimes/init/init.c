/* The init that `--init` puts before a container's program: PID 1, 2 kB, no libc.
 *
 * It starts the program as its child, passes on every signal it gets, reaps orphans, and ends as the
 * program ends (128+n for a signal). Usage: init -- PROGRAM ARGS...; PROGRAM is looked up in PATH.
 * Built by script/build-init; the binaries beside this file are what ships.
 */
typedef long word;
typedef unsigned long uword;

#if defined(__x86_64__)
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_SIGACTION = 13, SYS_SIGPROCMASK = 14, SYS_IOCTL = 16, SYS_CLONE = 56,
       SYS_EXECVE = 59, SYS_EXIT = 60, SYS_WAIT4 = 61, SYS_KILL = 62, SYS_SETPGID = 109, SYS_GETPGID = 121,
       SYS_SIGTIMEDWAIT = 128 };
static word call(word n, word a, word b, word c, word d, word e) {
    word r;
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return r;
}
__asm__(".globl _start\n_start:\n mov %rsp,%rdi\n and $-16,%rsp\n call start\n");
#elif defined(__aarch64__)
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_SIGACTION = 134, SYS_SIGPROCMASK = 135, SYS_IOCTL = 29, SYS_CLONE = 220,
       SYS_EXECVE = 221, SYS_EXIT = 93, SYS_WAIT4 = 260, SYS_KILL = 129, SYS_SETPGID = 154, SYS_GETPGID = 155,
       SYS_SIGTIMEDWAIT = 137 };
static word call(word n, word a, word b, word c, word d, word e) {
    register word x8 __asm__("x8") = n;
    register word x0 __asm__("x0") = a;
    register word x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d;
    register word x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x0,sp\n bl start\n");
#endif

enum { SIGCHLD = 17, SIGTTIN = 21, SIGTTOU = 22, WNOHANG = 1, EACCES = 13, ENOENT = 2, ENOTDIR = 20, TIOCSPGRP = 0x5410 };

static uword length(const char *s) {
    uword n = 0;
    while (s[n]) n++;
    return n;
}

static void say(const char *s) { call(SYS_WRITE, 2, (word)s, length(s), 0, 0); }

static void leave(int code) {
    for (;;) call(SYS_EXIT, code, 0, 0, 0, 0);
}

/* execvp(3): a name with a slash as it is, any other through PATH. Returns the errno that matters. */
static word become(char **argv, char **env) {
    const char *name = argv[0], *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char full[4608];
    word denied = 0, error = ENOENT;
    for (const char *p = name; *p; p++)
        if (*p == '/') return -call(SYS_EXECVE, (word)name, (word)argv, (word)env, 0, 0);
    for (char **e = env; *e; e++)
        if ((*e)[0] == 'P' && (*e)[1] == 'A' && (*e)[2] == 'T' && (*e)[3] == 'H' && (*e)[4] == '=') path = *e + 5;
    uword n = length(name);
    while (*path) {
        uword d = 0;
        while (path[d] && path[d] != ':') d++;
        if (d + n + 2 < sizeof full) {
            for (uword i = 0; i < d; i++) full[i] = path[i];
            full[d] = '/';
            for (uword i = 0; i <= n; i++) full[d + 1 + i] = name[i];
            error = -call(SYS_EXECVE, (word)full, (word)argv, (word)env, 0, 0);
            if (error == EACCES) denied = 1;
            else if (error != ENOENT && error != ENOTDIR) return error;
        }
        path += d;
        if (*path == ':') path++;
    }
    return denied ? EACCES : ENOENT;
}

static void child(char **argv, char **env, uword old_mask) {
    uword ignore[4] = {1, 0, 0, 0}, dflt[4] = {0, 0, 0, 0};
    int group = 0;
    call(SYS_SETPGID, 0, 0, 0, 0, 0);
    /* Take the terminal, if there is one; that would stop us were SIGTTOU not ignored meanwhile. */
    call(SYS_SIGACTION, SIGTTOU, (word)ignore, 0, 8, 0);
    group = (int)call(SYS_GETPGID, 0, 0, 0, 0, 0);
    call(SYS_IOCTL, 0, TIOCSPGRP, (word)&group, 0, 0);
    call(SYS_SIGACTION, SIGTTOU, (word)dflt, 0, 8, 0);
    call(SYS_SIGPROCMASK, 2, (word)&old_mask, 0, 8, 0);
    word error = become(argv, env);
    say("init: cannot execute ");
    say(argv[0]);
    say(error == EACCES ? ": permission denied\n" : error == ENOENT ? ": not found\n" : ": exec failed\n");
    leave(error == ENOENT ? 127 : 126);
}

__attribute__((used)) void start(word *stack) {
    word argc = stack[0];
    char **argv = (char **)(stack + 1), **env = argv + argc + 1;
    uword all = ~0UL, old_mask = 0;
    int info[32], status;
    argv++, argc--;
    if (argc && argv[0][0] == '-' && argv[0][1] == '-' && !argv[0][2]) argv++, argc--;
    if (!argc) {
        say("usage: init -- PROGRAM ARGS...\n");
        leave(2);
    }
    call(SYS_SIGPROCMASK, 2, (word)&all, (word)&old_mask, 8, 0);
    word pid = call(SYS_CLONE, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) child(argv, env, old_mask);
    if (pid < 0) leave(126);
    for (;;) {
        word number = call(SYS_SIGTIMEDWAIT, (word)&all, (word)info, 0, 8, 0);
        if (number > 0 && number != SIGCHLD && number != SIGTTIN && number != SIGTTOU)
            call(SYS_KILL, pid, number, 0, 0, 0);
        for (;;) {
            word gone = call(SYS_WAIT4, -1, (word)&status, WNOHANG, 0, 0);
            if (gone <= 0) break;
            if (gone == pid) leave((status & 127) ? 128 + (status & 127) : (status >> 8) & 255);
        }
    }
}
