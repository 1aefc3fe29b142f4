/* SPDX-License-Identifier: ISC */
/*
 * What a process gives up.  All that is one operating system's own stands
 * in this file.  The greeter comes here as root or as the mail user, the
 * session as the mailbox's owner.
 *
 * The branches for OpenBSD and FreeBSD are UNTESTED.
 *
 * INSTRUMENTED builds (sanitizers, coverage, valgrind) let through what the
 * tools need: no call is denied but those of `fatal_calls`, and there is no
 * limit but that of core files; with 2, files may be written anywhere, too.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#ifdef __linux__
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#elif defined(__FreeBSD__)
#include <sys/capsicum.h>
#endif

#ifndef INSTRUMENTED
#define INSTRUMENTED 0
#endif

/* Where the kernel cannot close a range, and the limit is huge. */
enum { DESCRIPTORS_MOST = 65536 };

#define MIB ((rlim_t)1024 * 1024)

#ifndef __GLIBC__
#define __rlimit_resource_t int
#endif

/* The greeter's limits, and the session's: 1 GiB is some two million messages;
 * the log may be in its 11th descriptor, and one of the files it writes. */
static const struct {
	__rlimit_resource_t resource;
	rlim_t most[2]; /* by role */
} limits[] = {
    {RLIMIT_CORE, {0, 0}},
    {RLIMIT_NPROC, {0, 0}},
    /* No new one has a number below 1; but poll takes no more than it. */
    {RLIMIT_NOFILE, {1, 16}},
#ifdef RLIMIT_AS
    {RLIMIT_AS, {64 * MIB, 1024 * MIB}},
#endif
    {RLIMIT_FSIZE, {RLIM_INFINITY, 8192 * MIB}},
};

/* Those from `first` on, and before `end`. */
static void
close_range_of(unsigned first, unsigned end)
{
	long most;

#ifdef SYS_close_range
	if (first == end || syscall(SYS_close_range, first, end - 1, 0U) == 0)
		return;
#endif
	most = sysconf(_SC_OPEN_MAX);
	if (most < 0 || most > DESCRIPTORS_MOST)
		most = DESCRIPTORS_MOST;
	for (unsigned fd = first; fd < end && fd < (unsigned)most; fd++)
		(void)close((int)fd);
}

void
close_descriptors(const struct tls *tls)
{
	const int kept[] = {tls->control, tls->in, tls->out};
	unsigned first = 3, end = 0;

	for (; end < UINT_MAX; first = end + 1) {
		end = UINT_MAX;
		for (size_t i = 0; tls->is_offered && i < 3; i++)
			if ((unsigned)kept[i] >= first &&
			    (unsigned)kept[i] < end)
				end = (unsigned)kept[i];
		close_range_of(first, end);
	}
}

char *
own_path(void)
{
	static const char deleted[] = " (deleted)";
	static char path[PATH_MAX] = "pop3d";
	const size_t tail = sizeof(deleted) - 1;
	ssize_t n;

#ifdef AT_EXECFN
	/* What the kernel was given; it spares /proc a look at this process. */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	char *given = (char *)getauxval(AT_EXECFN);

	if (given != NULL && *given == '/' && strncmp(given, "/dev/", 5) != 0)
		return given;
#endif
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0)
		return path; /* the checkpassword program searches PATH */
	path[n] = '\0';
	/* Replaced by an upgrade in the meantime: take the new one. */
	if ((size_t)n > tail && strcmp(path + n - tail, deleted) == 0)
		path[(size_t)n - tail] = '\0';
	return path;
}

static int
drop_root(const struct options *o)
{
	struct stat root;

	if (chdir(o->root) == -1 || stat(".", &root) == -1)
		return -1;
	errno = EPERM;
	if (root.st_uid != 0 || (root.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -1;
	if (chroot(".") == -1 || setgroups(0, NULL) == -1 ||
	    setgid(o->gid) == -1 || setuid(o->uid) == -1)
		return -1;
	errno = EPERM;
	return setuid(0) != -1 || setgid(0) != -1 || geteuid() != o->uid ||
		       getegid() != o->gid
		   ? -1
		   : 0;
}

/* A part of the sandbox is not to be had here, as errno says. */
static bool
is_fatal(const struct options *o, const char *part)
{
	log_event("debug what=%s part=%s error=%s",
	    "a part of the sandbox is missing", part, strerror(errno));
	return strchr(o->flags, 'S') != NULL;
}

/* Lowers limits, and never raises one. */
static int
lower_limits(enum role role)
{
	size_t n = INSTRUMENTED ? 1 : sizeof(limits) / sizeof(limits[0]);
	struct rlimit now;

	for (size_t i = 0; i < n; i++) {
		rlim_t most = limits[i].most[role];

		if (getrlimit(limits[i].resource, &now) == -1)
			return -1;
		if (now.rlim_max <= most && now.rlim_cur <= most)
			continue;
		now.rlim_max = now.rlim_max < most ? now.rlim_max : most;
		now.rlim_cur = now.rlim_cur < most ? now.rlim_cur : most;
		if (setrlimit(limits[i].resource, &now) == -1)
			return -1;
	}
	return 0;
}

#ifdef __linux__

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0 /* which no filter fits */
#endif

/* What a call comes to, as a place behind the filter's sets. */
enum {
	NO_EXECUTABLE = 0, /* the third argument lacks PROT_EXEC, or KILL */
	LOCK_ONLY = 2,	   /* fcntl for a lock, or REFUSE */
	NO_ADDRESS = 4,	   /* sendto without one, or KILL */
	KILL = 6,
	ALLOW,
	REFUSE, /* ENOSYS */
	ENDINGS
};

/* The filter: what comes first, a tree over sets of 32 calls in a row, with
 * three instructions for each set, endings. */
enum {
	BIT = 9, /* the call's bit in its set, into X */
	TREE = 15,
	SETS = 16, /* at most */
	/* Behind these no call is allowed, or none is known. */
	GREETER_SETS = INSTRUMENTED ? SETS : 9,
	SESSION_SETS = INSTRUMENTED ? SETS : 14,
	LENGTH = TREE + 4 * SETS - 1 + ENDINGS
};

struct filter {
	uint32_t allowed[SETS], fatal[SETS]; /* a bit a call */
	size_t end;			     /* where the endings are */
	struct sock_filter code[LENGTH];
};

/* Calls by number; -1 is one that this machine does not have. */
#ifndef SYS_poll
#define SYS_poll (-1)
#define SYS_fork (-1)
#define SYS_vfork (-1)
#define SYS_time (-1)
#endif

static const short greeter_calls[] = {SYS_read, SYS_recvfrom, SYS_write,
    SYS_sendto, SYS_poll, SYS_ppoll, SYS_shutdown, SYS_clock_gettime,
    SYS_restart_syscall, SYS_exit, SYS_exit_group};

/* The session's are these as well. */
static const short session_calls[] = {
    /* files */
    SYS_openat, SYS_close, SYS_pread64, SYS_pwrite64, SYS_lseek, SYS_fstat,
    SYS_newfstatat, SYS_statx, SYS_getdents64, SYS_renameat, SYS_renameat2,
    SYS_linkat, SYS_unlinkat, SYS_flock,
    /* what the libraries do by themselves */
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex, SYS_getrandom,
    SYS_gettimeofday, SYS_time, SYS_nanosleep, SYS_clock_nanosleep,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_getpid,
    SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid};

/* What no honest session does: to try it is to have been taken over. */
static const short fatal_calls[] = {SYS_execve, SYS_execveat, SYS_fork,
    SYS_vfork, SYS_clone, SYS_clone3, SYS_socket, SYS_socketpair, SYS_bind,
    SYS_connect, SYS_listen, SYS_accept, SYS_accept4, SYS_sendmsg, SYS_sendmmsg,
    SYS_recvmsg, SYS_recvmmsg, SYS_ptrace, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_pidfd_open, SYS_pidfd_getfd,
    SYS_pidfd_send_signal, SYS_kill, SYS_tkill, SYS_tgkill, SYS_setuid,
    SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid,
    SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_capset, SYS_mount,
    SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns,
    SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsmount, SYS_fspick,
    SYS_mount_setattr, SYS_open_by_handle_at, SYS_bpf, SYS_io_uring_setup,
    SYS_io_uring_enter, SYS_io_uring_register, SYS_io_setup, SYS_userfaultfd,
    SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_request_key,
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
    SYS_kexec_file_load, SYS_reboot, SYS_personality, SYS_swapon, SYS_syslog,
    SYS_acct, SYS_memfd_create, SYS_mknodat};

/* Sets a bit for each of these calls. */
static void
mark(uint32_t *bits, const short *calls, size_t octets)
{
	for (size_t i = 0; i < octets / sizeof(*calls); i++)
		if (calls[i] >= 0)
			bits[calls[i] / 32] |= 1U << calls[i] % 32;
}

/* A comparison at `at`, and where it leads. */
static struct sock_filter
compare(uint16_t how, uint32_t with, size_t at, size_t yes, size_t no)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | how, with,
	    (uint8_t)(yes - at - 1), (uint8_t)(no - at - 1));
}

/* The tree over n sets from `set` on, its root at `at`. */
static void
make_tree(struct filter *f, size_t at, size_t set, size_t n)
{
	size_t half = n / 2, right = at + 4 * half;

	if (n > 1) {
		f->code[at] = compare(
		    BPF_JGE, (uint32_t)(set + half) * 32, at, right, at + 1);
		make_tree(f, at + 1, set, half);
		make_tree(f, right, set + half, n - half);
		return;
	}
	f->code[at] = (struct sock_filter)BPF_STMT(BPF_MISC | BPF_TXA, 0);
	f->code[at + 1] =
	    compare(BPF_JSET, f->allowed[set], at + 1, f->end + ALLOW, at + 2);
	f->code[at + 2] = compare(
	    BPF_JSET, f->fatal[set], at + 2, f->end + KILL, f->end + REFUSE);
}

/* Of what is neither allowed nor fatal, the greeter dies all the same; the
 * session is told that there is no such call, lest a new libc end a session
 * in its UPDATE. */
static void
choose_calls(struct filter *f, enum role role)
{
	mark(f->allowed, greeter_calls, sizeof(greeter_calls));
	if (role == ROLE_SESSION)
		mark(f->allowed, session_calls, sizeof(session_calls));
	mark(f->fatal, fatal_calls, sizeof(fatal_calls));
	for (size_t i = 0; i < SETS; i++)
		if (INSTRUMENTED)
			f->allowed[i] = ~f->fatal[i];
		else if (role == ROLE_GREETER)
			f->fatal[i] = UINT32_MAX;
}

#define LOAD(field)                                                            \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

/*
 * Installs the filter.  Whatever it costs is paid in every session: so it
 * has a bit a call, not a comparison, and begins with an instruction that
 * keeps the kernel from running it for every call there is beforehand.
 */
static int
filter_calls(enum role role)
{
	static const struct sock_filter endings[ENDINGS] = {
	    /* Both machines are little-endian: the low half. */
	    [NO_EXECUTABLE] = LOAD(args[2]),
	    BPF_JUMP(
		BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, KILL - 2, ALLOW - 2),
	    [LOCK_ONLY] = LOAD(args[1]),
	    BPF_JUMP(
		BPF_JMP | BPF_JEQ | BPF_K, F_OFD_SETLK, ALLOW - 4, REFUSE - 4),
	    /* A datagram socket, connected or not, sends to any other. */
	    [NO_ADDRESS] = LOAD(args[5]),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, ALLOW - 6, KILL - 6),
	    [KILL] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	    [ALLOW] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	    [REFUSE] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	};
	const bool is_plain = INSTRUMENTED || role == ROLE_GREETER;
	const size_t sets = role == ROLE_GREETER ? GREETER_SETS : SESSION_SETS;
	const size_t end = TREE + 4 * sets - 1;
	const size_t map = is_plain ? BIT : end + NO_EXECUTABLE;
	const size_t lock = is_plain ? BIT : end + LOCK_ONLY;
	struct filter f = {.end = end,
	    .code = {
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		LOAD(arch),
		compare(BPF_JEQ, ARCH, 2, 3, end + KILL),
		LOAD(nr),
		compare(BPF_JGE, (uint32_t)sets * 32, 4, end + REFUSE, 5),
		compare(BPF_JEQ, SYS_sendto, 5, end + NO_ADDRESS, 6),
		compare(BPF_JEQ, SYS_fcntl, 6, lock, 7),
		compare(BPF_JEQ, SYS_mmap, 7, map, 8),
		compare(BPF_JEQ, SYS_mprotect, 8, map, BIT),
		[BIT] = BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 31),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_IMM, 1),
		BPF_STMT(BPF_ALU | BPF_LSH | BPF_X, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		LOAD(nr),
	    }};
	struct sock_fprog program = {
	    .len = (unsigned short)(end + ENDINGS), .filter = f.code};

	if (ARCH == 0) {
		errno = ENOSYS;
		return -1;
	}
	choose_calls(&f, role);
	make_tree(&f, TREE, 0, sets);
	memcpy(f.code + end, endings, sizeof(endings));
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &program);
}

/* Lets no file be reached but those of the Maildir, and no other process. */
static int
see_only(int maildir)
{
	/* What each version of Landlock can forbid, the newest first; the
	 * first version of all forbids to move from new to cur. */
	static const struct {
		uint64_t files;
		size_t octets;
	} versions[] = {
	    {0xffff, 24}, {0xffff, 16}, {0x7fff, 16}, {0x7fff, 8}, {0x3fff, 8}};
	uint64_t rules[3] = {0, 3, 3}; /* files, network, other processes */
	const struct landlock_path_beneath_attr beneath = {
	    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
		LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER,
	    maildir};
	long fd = -1;
	int result;

	for (size_t i = 0;
	     i < sizeof(versions) / sizeof(versions[0]) && fd == -1; i++) {
		rules[0] = versions[i].files;
		fd = syscall(
		    SYS_landlock_create_ruleset, rules, versions[i].octets, 0U);
	}
	if (fd == -1)
		return -1;
	result = syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH,
		     &beneath, 0U) == 0 &&
			 syscall(SYS_landlock_restrict_self, fd, 0U) == 0
		     ? 0
		     : -1;
	(void)close((int)fd);
	return result;
}

static int
confine(enum role role, const struct options *o, int maildir)
{
	if ((prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 &&
		is_fatal(o, "no-new-privileges")) ||
	    (prctl(PR_SET_DUMPABLE, 0) == -1 && is_fatal(o, "dumpable")))
		return -1;
	if (role == ROLE_SESSION && INSTRUMENTED < 2 &&
	    see_only(maildir) == -1 && is_fatal(o, "landlock"))
		return -1;
	return filter_calls(role) == -1 && is_fatal(o, "seccomp") ? -1 : 0;
}

#elif defined(__OpenBSD__)

/* UNTESTED. */
static int
confine(enum role role, const struct options *o, int maildir)
{
	(void)o;
	/* There is no unveil of a descriptor: here the session reaches all
	 * files that its user may. */
	(void)maildir;
	return pledge(
	    role == ROLE_GREETER ? "stdio" : "stdio rpath wpath cpath flock",
	    NULL);
}

#elif defined(__FreeBSD__)

/* UNTESTED.  All that the session opens lies below a descriptor it has. */
static int
confine(enum role role, const struct options *o, int maildir)
{
	(void)role;
	(void)maildir;
	return cap_enter() == -1 && is_fatal(o, "capsicum") ? -1 : 0;
}

#else

static int
confine(enum role role, const struct options *o, int maildir)
{
	(void)role;
	(void)maildir;
	errno = ENOSYS;
	return is_fatal(o, "system") ? -1 : 0;
}

#endif

int
sandbox_leave_root(const struct options *o)
{
	if (geteuid() != 0 || drop_root(o) == 0)
		return 0;
	log_error("cannot leave root for the greeter's directory", o->root);
	return -1;
}

int
sandbox_enter(enum role role, const struct options *o, int maildir)
{
	/* Whether it is root, or was and could be again. */
	if (role == ROLE_SESSION && setuid(0) == 0) {
		log_event("error what=%s", "a mailbox of root is not served");
		return -1;
	}
	if (lower_limits(role) == -1 && is_fatal(o, "limits"))
		return -1;
	return confine(role, o, maildir);
}
