/* Tries what a container must not be able to do; prints `name errno` (0: it worked) for each attempt.
 * Built static by the tests and put into their images. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

static long device(mode_t kind, int major, int minor, int flags) {
    unlink("/tmp/node");
    if (mknod("/tmp/node", kind | 0666, makedev(major, minor)) < 0) return -1;
    long fd = open("/tmp/node", flags);
    int saved = errno;
    unlink("/tmp/node");
    errno = saved;
    return fd;
}

static long put(const char *path) {
    int fd = open(path, O_WRONLY);
    return fd < 0 ? -1 : write(fd, "0", 1);
}

static long take(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    long got = read(fd, &byte, 1);
    if (got == 0) errno = ENODATA;
    return got > 0 ? 0 : -1;
}

int main(void) {
    printf("euid %d\n", (int)geteuid());
    tell("af_alg", socket(AF_ALG, SOCK_SEQPACKET, 0));
    tell("af_vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    tell("af_inet", socket(AF_INET, SOCK_STREAM, 0));
    tell("mount_cgroup", mount("none", "/tmp", "cgroup", 0, "memory"));
    tell("mount_cgroup2", mount("none", "/tmp", "cgroup2", 0, 0));
    tell("mount_proc", mount("proc", "/tmp", "proc", 0, 0));
    tell("mount_tmpfs", mount("none", "/tmp", "tmpfs", 0, 0));
    tell("remount", mount(0, "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0));
    tell("umount_mask", umount2("/proc/keys", MNT_DETACH));
    tell("fsopen", syscall(430, "tmpfs", 0));
    tell("open_tree", syscall(428, AT_FDCWD, "/", 1));
    tell("move_mount", syscall(429, -1, "", -1, "", 0));
    tell("pivot_root", syscall(SYS_pivot_root, ".", "."));
    tell("setns", setns(0, 0));
    tell("unshare_user", unshare(CLONE_NEWUSER));
    tell("unshare_mount", unshare(CLONE_NEWNS));
    tell("clone_user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    tell("clone3", syscall(435, 0, 0));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    tell("add_key", syscall(SYS_add_key, "user", "x", "x", 1, -3));
    tell("request_key", syscall(SYS_request_key, "user", "x", 0, 0));
    tell("bpf", syscall(SYS_bpf, 0, 0, 0));
    tell("perf", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
    tell("open_by_handle", syscall(SYS_open_by_handle_at, AT_FDCWD, 0, 0));
    tell("userfaultfd", syscall(SYS_userfaultfd, 0));
    tell("io_uring", syscall(425, 1, 0));
    tell("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    tell("init_module", syscall(SYS_init_module, 0, 0, ""));
    tell("swapon", syscall(SYS_swapon, "/tmp", 0));
    tell("acct", syscall(SYS_acct, 0));
    tell("quotactl", syscall(SYS_quotactl, 0, 0, 0, 0));
    tell("settimeofday", syscall(SYS_settimeofday, 0, 0));
    tell("sethostname", sethostname("x", 1));
    tell("syslog", syscall(SYS_syslog, 3, 0, 0));
    tell("chroot", chroot("/"));
    tell("personality_randomize", personality(ADDR_NO_RANDOMIZE));
#ifdef __x86_64__
    tell("iopl", syscall(SYS_iopl, 3));
    tell("modify_ldt", syscall(SYS_modify_ldt, 0, 0, 0) < 0 ? -1 : 0);
    tell("x32_getpid", syscall(0x40000000 + SYS_getpid));
#endif
    tell("null", device(S_IFCHR, 1, 3, O_RDWR));
    tell("mem", device(S_IFCHR, 1, 1, O_RDONLY));
    tell("kmsg", device(S_IFCHR, 1, 11, O_RDONLY));
    tell("fuse", device(S_IFCHR, 10, 229, O_RDWR));
    tell("tun", device(S_IFCHR, 10, 200, O_RDWR));
    tell("loop", device(S_IFBLK, 7, 0, O_RDONLY));
    tell("disk", device(S_IFBLK, 8, 0, O_RDONLY));
    tell("sda_write", device(S_IFBLK, 254, 0, O_RDWR));
    tell("core_pattern", put("/proc/sys/kernel/core_pattern"));
    tell("modprobe", put("/proc/sys/kernel/modprobe"));
    tell("sysrq", put("/proc/sysrq-trigger"));
    tell("uevent_helper", put("/sys/kernel/uevent_helper"));
    tell("uevent", put("/sys/class/net/lo/uevent"));
    tell("release_agent", put("/sys/fs/cgroup/memory/release_agent"));
    tell("cgroup_tasks", put("/sys/fs/cgroup/memory/tasks"));
    tell("cgroup_devices", put("/sys/fs/cgroup/devices/devices.allow"));
    tell("binfmt", put("/proc/sys/fs/binfmt_misc/register"));
    tell("kcore", take("/proc/kcore"));
    tell("keys", take("/proc/keys"));
    tell("interrupts", take("/proc/interrupts"));
    tell("timer_list", take("/proc/timer_list"));
    tell("sched_debug", take("/proc/sched_debug"));
    tell("latency_stats", take("/proc/latency_stats"));
    tell("acpi", mkdir("/proc/acpi/x", 0755));
    tell("firmware", open("/sys/firmware/dmi/tables/DMI", O_RDONLY));
    tell("powercap", open("/sys/devices/virtual/powercap/intel-rapl/uevent", O_RDONLY));
    tell("thermal", open("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", O_RDONLY));
    return 0;
}
