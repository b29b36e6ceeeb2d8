/* The floor: one container's life in C, with the system calls that Corten's supervisor makes for it and nothing
 * else: no HTTP, no ledger, no interpreter. What our API call costs above this is ours to answer for.
 *
 *   floor COUNT IN_FLIGHT WORKDIR RUNDIR LOWERDIR SECCOMP
 *
 * WORKDIR: an empty directory on the file system that holds containers; RUNDIR: one on a tmpfs, for what each start
 * writes anew; LOWERDIR: an image's layers with /bin/true, for overlayfs; SECCOMP: the compiled default profile
 * (struct sock_filter[]). IN_FLIGHT processes share the work. Prints the nanoseconds of each life, one a line,
 * from making the cgroups and directories to having reaped the process and removed them again (the files
 * themselves are only renamed away, as the engine does it; deleting them is not on the clock), and at last those
 * of all together.
 *
 * cgroup v1 hierarchies are taken as found in /proc/self/mountinfo; where there are none, /sys/fs/cgroup is v2.
 * The order follows src/corten/task/init.py; network: a new namespace with its loopback up, as --network none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LENGTH(a) (sizeof(a) / sizeof *(a))
#define DEFAULT_CAPS 0xa80425fbULL /* Docker's fourteen */
#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static struct {
	char path[256], name[64], options[64];
} hierarchies[16];
static size_t hierarchy_count;
static struct sock_filter filter[8192];
static struct sock_fprog program = {0, filter};
static const char *workdir, *rundir, *lowerdir;

static void fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static void must(int result, const char *what)
{
	if (result < 0)
		fail(what);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	must(fd, path);
	if (write(fd, text, strlen(text)) < 0)
		fail(path);
	close(fd);
}

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void find_hierarchies(void)
{
	char line[4096];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	while (fgets(line, sizeof line, f)) {
		char path[256], type[32], options[256], *separator = strstr(line, " - ");
		if (sscanf(line, "%*s %*s %*s %*s %255s", path) != 1 || !separator ||
		    sscanf(separator, " - %31s %*s %255s", type, options) != 2 || strcmp(type, "cgroup") ||
		    hierarchy_count == LENGTH(hierarchies))
			continue;
		char *own = strncmp(options, "rw,", 3) ? options : options + 3;
		snprintf(hierarchies[hierarchy_count].path, 256, "%s", path);
		snprintf(hierarchies[hierarchy_count].name, 64, "%.63s", strrchr(path, '/') + 1);
		snprintf(hierarchies[hierarchy_count++].options, 64, "%s%.50s",
		    strncmp(own, "name=", 5) ? "" : "none,", own);
	}
	fclose(f);
}

static const char *cgroup_file(size_t hierarchy, const char *id, const char *file)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/corten-floor%s%s%s%s", hierarchies[hierarchy].path, *id ? "/" : "", id,
	    *file ? "/" : "", file);
	return path;
}

static void inherit_cpuset(size_t hierarchy, const char *id)
{
	static const char *files[] = {"cpuset.cpus", "cpuset.mems"};
	char path[512], text[256];
	for (size_t i = 0; i < LENGTH(files); i++) {
		snprintf(path, sizeof path, "%s/%s%s", hierarchies[hierarchy].path, *id ? "corten-floor/" : "", files[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		must(fd, path);
		ssize_t length = read(fd, text, sizeof text - 1);
		close(fd);
		text[length < 0 ? 0 : length] = 0;
		put(cgroup_file(hierarchy, id, files[i]), text);
	}
}

static void make_cgroups(const char *id)
{
	static const char *allowed[] = {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
	    "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm", "c 5:1 rwm"};
	for (size_t i = 0; i < hierarchy_count; i++)
		must(mkdir(cgroup_file(i, id, ""), 0755), "mkdir cgroup");
	for (size_t i = 0; i < hierarchy_count; i++) {
		if (!strcmp(hierarchies[i].name, "devices")) {
			put(cgroup_file(i, id, "devices.deny"), "a");
			for (size_t k = 0; k < LENGTH(allowed); k++)
				put(cgroup_file(i, id, "devices.allow"), allowed[k]);
		}
		if (!strcmp(hierarchies[i].name, "cpuset"))
			inherit_cpuset(i, id);
	}
}

static void make_directories(const char *id)
{
	static const char *directories[] = {"", "/upper", "/work"}, *files[] = {"/hosts", "/hostname", "/resolv.conf"};
	char path[512];
	for (size_t i = 0; i < LENGTH(directories); i++) {
		snprintf(path, sizeof path, "%s/%s%s", workdir, id, directories[i]);
		must(mkdir(path, 0755), path);
	}
	snprintf(path, sizeof path, "%s/%s", rundir, id);
	must(mkdir(path, 0710), path);
	for (size_t i = 0; i < LENGTH(files); i++) {
		snprintf(path, sizeof path, "%s/%s%s", rundir, id, files[i]);
		put(path, "127.0.0.1\tlocalhost\n");
	}
}

static void mount_file_systems(void)
{
	static const struct {
		const char *source, *target, *type;
		unsigned long flags;
		const char *data;
	} table[] = {
	    {"proc", "proc", "proc", SAFE, NULL},
	    {"tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
	    {"devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
	    {"sysfs", "sys", "sysfs", SAFE | MS_RDONLY, NULL},
	    {"tmpfs", "sys/fs/cgroup", "tmpfs", SAFE, "mode=755"},
	    {"mqueue", "dev/mqueue", "mqueue", SAFE, NULL},
	    {"shm", "dev/shm", "tmpfs", SAFE, "mode=1777,size=67108864"},
	};
	for (size_t i = 0; i < LENGTH(table); i++) {
		if (!strncmp(table[i].target, "dev/", 4))
			mkdir(table[i].target, 0755);
		must(mount(table[i].source, table[i].target, table[i].type, table[i].flags, table[i].data), table[i].target);
	}
	for (size_t i = 0; i < hierarchy_count; i++) {
		char target[128];
		snprintf(target, sizeof target, "sys/fs/cgroup/%s", hierarchies[i].name);
		mkdir(target, 0755);
		must(mount("cgroup", target, "cgroup", SAFE | MS_RDONLY, hierarchies[i].options), target);
	}
	must(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | SAFE | MS_RDONLY, NULL), "read-only cgroup");
}

static void make_devices(void)
{
	static const struct {
		const char *name;
		int major, minor;
	} devices[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
	static const char *links[][2] = {{"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
	    {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"}};
	char path[64];
	for (size_t i = 0; i < LENGTH(devices); i++) {
		snprintf(path, sizeof path, "dev/%s", devices[i].name);
		must(mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), path);
	}
	for (size_t i = 0; i < LENGTH(links); i++)
		must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void protect(void)
{
	static const char *masked[] = {"proc/acpi", "proc/asound", "proc/interrupts", "proc/kcore", "proc/keys",
	    "proc/latency_stats", "proc/sched_debug", "proc/scsi", "proc/timer_list", "proc/timer_stats",
	    "sys/devices/virtual/powercap", "sys/firmware"};
	static const char *read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
	struct stat status;
	for (size_t i = 0; i < LENGTH(masked); i++) {
		if (stat(masked[i], &status) < 0)
			continue;
		if (S_ISDIR(status.st_mode))
			must(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "size=0k"), masked[i]);
		else
			must(mount("/dev/null", masked[i], NULL, MS_BIND, NULL), masked[i]);
	}
	for (size_t i = 0; i < LENGTH(read_only); i++) {
		if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0)
			continue;
		must(mount(NULL, read_only[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | SAFE, NULL), read_only[i]);
	}
}

static void build_root(const char *id)
{
	static const char *files[] = {"hosts", "hostname", "resolv.conf"};
	char options[2048], source[512], target[64];
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/%s/upper,workdir=%s/%s/work", lowerdir, workdir, id,
	    workdir, id);
	snprintf(source, sizeof source, "%s/mnt", workdir);
	must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "slave");
	must(mount("overlay", source, "overlay", 0, options), "overlay");
	must(chdir(source), "chdir");
	mount_file_systems();
	for (size_t i = 0; i < LENGTH(files); i++) {
		snprintf(source, sizeof source, "%s/%s/%s", rundir, id, files[i]);
		snprintf(target, sizeof target, "etc/%s", files[i]);
		close(open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
		must(mount(source, target, NULL, MS_BIND, NULL), target);
	}
	make_devices();
	protect();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "chdir /");
}

static void bring_up_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	must(ioctl(fd, SIOCSIFFLAGS, &request), "loopback");
	close(fd);
}

static void drop_rights(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[2] = {{DEFAULT_CAPS, DEFAULT_CAPS, 0}, {0, 0, 0}};
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!(DEFAULT_CAPS >> cap & 1))
			must(prctl(PR_CAPBSET_DROP, cap), "bounding set");
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
	must(prctl(PR_SET_KEEPCAPS, 1), "keep capabilities");
	must(syscall(SYS_setgroups, 0, NULL), "setgroups");
	must(setresgid(0, 0, 0), "setresgid");
	must(setresuid(0, 0, 0), "setresuid");
	must(syscall(SYS_capset, &header, sets), "capset");
}

static void child(const char *id, int output, int errors)
{
	char *arguments[] = {"true", NULL}, *environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", NULL};
	setsid();
	umask(0);
	prctl(PR_SET_DUMPABLE, 0);
	for (size_t i = 0; i < hierarchy_count; i++)
		put(cgroup_file(i, id, "tasks"), "0");
	build_root(id);
	must(sethostname(id, strlen(id)), "sethostname");
	bring_up_loopback();
	int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	dup2(input, 0);
	dup2(output, 1);
	dup2(errors, 2);
	drop_rights();
	umask(022);
	execve("/bin/true", arguments, environment);
	fail("execve");
}

static long live(int number)
{
	char id[64], from[512], to[512], byte;
	int output[2], errors[2], status[2], pidfd = -1;
	long start = now();
	snprintf(id, sizeof id, "floor-%d-%d", getpid(), number);
	make_cgroups(id);
	make_directories(id);
	must(pipe2(output, O_CLOEXEC), "pipe");
	must(pipe2(errors, O_CLOEXEC), "pipe");
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status), "socketpair");
	struct clone_args arguments = {
	    .flags = CLONE_PIDFD | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET,
	    .pidfd = (unsigned long)&pidfd,
	    .exit_signal = SIGCHLD,
	};
	long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	must(pid, "clone3");
	if (pid == 0)
		child(id, output[1], errors[1]);
	close(output[1]);
	close(errors[1]);
	close(status[1]);
	while (read(status[0], &byte, 1) > 0)
		; /* end of file: execve has happened */
	siginfo_t info;
	must(waitid(P_PIDFD, pidfd, &info, WEXITED), "waitid");
	if (info.si_status)
		fail("the container failed");
	close(output[0]);
	close(errors[0]);
	close(status[0]);
	close(pidfd);
	for (size_t i = 0; i < hierarchy_count; i++)
		must(rmdir(cgroup_file(i, id, "")), "rmdir cgroup");
	snprintf(from, sizeof from, "%s/%s", workdir, id);
	snprintf(to, sizeof to, "%s/trash/%s", workdir, id);
	must(rename(from, to), "rename");
	return now() - start;
}

static int work(int count)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* a line is one write: those of several processes do not mix */
	for (int number = 0; number < count; number++)
		printf("%ld\n", live(number));
	return 0;
}

int main(int argc, char **argv)
{
	char path[512];
	int failed = 0, status;
	if (argc != 7) {
		fprintf(stderr, "usage: floor COUNT IN_FLIGHT WORKDIR RUNDIR LOWERDIR SECCOMP\n");
		return 2;
	}
	int count = atoi(argv[1]), in_flight = atoi(argv[2]);
	workdir = argv[3];
	rundir = argv[4];
	lowerdir = argv[5];
	int fd = open(argv[6], O_RDONLY | O_CLOEXEC);
	must(fd, argv[6]);
	program.len = read(fd, filter, sizeof filter) / sizeof *filter;
	close(fd);
	find_hierarchies();
	snprintf(path, sizeof path, "%s/mnt", workdir);
	mkdir(path, 0755);
	snprintf(path, sizeof path, "%s/trash", workdir);
	mkdir(path, 0755);
	for (size_t i = 0; i < hierarchy_count; i++) {
		mkdir(cgroup_file(i, "", ""), 0755);
		if (!strcmp(hierarchies[i].name, "cpuset")) /* a v1 cpuset starts empty and takes no task */
			inherit_cpuset(i, "");
	}
	long start = now();
	for (int worker = 0; worker < in_flight; worker++) {
		pid_t pid = fork();
		must(pid, "fork");
		if (pid == 0)
			return work(count / in_flight);
	}
	while (wait(&status) > 0)
		failed |= status;
	printf("%ld\n", now() - start);
	for (size_t i = 0; i < hierarchy_count; i++)
		rmdir(cgroup_file(i, "", ""));
	return failed ? 1 : 0;
}
