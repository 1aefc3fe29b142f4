/* SPDX-License-Identifier: ISC */
/*
 * What a process may do, asked of the kernel: for tests/sandbox.bats.
 *
 * inject PID CALL [ARGUMENT ...]
 *	In place of the next system call that the process makes, it makes
 *	this one; then it goes on with its own.  CALL is a name or a number; an
 *	ARGUMENT is a number, =TEXT (the address of a string), @FILE (that of
 *	the octets of a file), or _ (that of some octets to be used).
 *	Prints the result: a number, the name of an error, or "killed SIGSYS".
 * inject -d ERRNO CALL[:FIRST-ARGUMENT] COMMAND [ARGUMENT ...]
 *	Runs the command; in its processes CALL fails.
 */
#include <elf.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ARGUMENTS = 6,
	/* Below the stack pointer there is room for arguments. */
	ROOM_OCTETS = 65536,
	RED_ZONE = 512,
	NO_SUCH_CALL = 77, /* this machine does not have it */
	TRAP = SIGTRAP | 0x80
};

static const struct {
	const char *name;
	long number;
} calls[] = {
/* Lines {"read", SYS_read}, made of sys/syscall.h by the tests. */
#include "calls.h"
};

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(111);
}

static unsigned long
number(const char *text)
{
	char *end;
	unsigned long n = (unsigned long)strtoll(text, &end, 0);

	if (*text == '\0' || *end != '\0') {
		(void)fprintf(stderr, "no number: %s\n", text);
		exit(100);
	}
	return n;
}

static long
call_number(const char *text)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(calls[i].name, text) == 0)
			return calls[i].number;
	if (*text >= '0' && *text <= '9')
		return (long)number(text);
	puts("no such call");
	exit(NO_SUCH_CALL);
}

static int
error_number(const char *name)
{
	for (int i = 1; i < 200; i++) {
		const char *known = strerrorname_np(i);

		if (known != NULL && strcmp(known, name) == 0)
			return i;
	}
	return (int)number(name);
}

static bool has_result;
static long result;

static void
print_result(void)
{
	const char *name =
	    result < 0 && result > -4096 ? strerrorname_np((int)-result) : NULL;

	if (name != NULL)
		puts(name);
	else
		printf("%ld\n", result);
}

/* Waits until the process stops; its status.  Its end is the end here, too. */
static int
wait_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) == -1)
		die("wait");
	if (WIFSTOPPED(status))
		return status;
	if (has_result && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS))
		print_result();
	else if (WIFSIGNALED(status))
		printf("killed SIG%s\n", sigabbrev_np(WTERMSIG(status)));
	else
		printf("exited %d\n", WEXITSTATUS(status));
	exit(0);
}

/* A request that failed, maybe since the process has just been killed. */
static _Noreturn void
fail(pid_t pid, const char *what)
{
	if (errno == ESRCH)
		(void)wait_stop(pid);
	die(what);
}

/* Registers. */
#if defined(__x86_64__)

typedef struct user_regs_struct registers;
#define STACK(r) ((r)->rsp)
#define RESULT(r) ((long)(r)->rax)

static void
set_call(pid_t pid, registers *r, long call, const unsigned long *a)
{
	(void)pid;
	r->orig_rax = (unsigned long)call;
	r->rdi = a[0];
	r->rsi = a[1];
	r->rdx = a[2];
	r->r10 = a[3];
	r->r8 = a[4];
	r->r9 = a[5];
}

/* As they were before the call that was put off. */
static void
go_back(registers *r)
{
	r->rax = r->orig_rax;
	r->orig_rax = (unsigned long)-1;
	r->rip -= 2;
}

#elif defined(__aarch64__)

typedef struct user_regs_struct registers;
#define STACK(r) ((r)->sp)
#define RESULT(r) ((long)(r)->regs[0])
#ifndef NT_ARM_SYSTEM_CALL
#define NT_ARM_SYSTEM_CALL 0x404
#endif

static void
set_call(pid_t pid, registers *r, long call, const unsigned long *a)
{
	int n = (int)call;
	struct iovec part = {&n, sizeof(n)};

	for (size_t i = 0; i < ARGUMENTS; i++)
		r->regs[i] = a[i];
	if (ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &part) == -1)
		fail(pid, "system call");
}

static void
go_back(registers *r)
{
	r->pc -= 4;
}

#else
#error "registers"
#endif

static void
get(pid_t pid, registers *r)
{
	struct iovec all = {r, sizeof(*r)};

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &all) == -1)
		fail(pid, "registers");
}

static void
set(pid_t pid, registers *r)
{
	struct iovec all = {r, sizeof(*r)};

	if (ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &all) == -1)
		fail(pid, "registers");
}

/* Lets it go on to the beginning or the end of a system call. */
static void
step(pid_t pid)
{
	int status, signal = 0;

	do {
		if (ptrace(PTRACE_SYSCALL, pid, 0L, (long)signal) == -1)
			fail(pid, "step");
		status = wait_stop(pid);
		signal = status >> 16 != 0 ? 0 : WSTOPSIG(status);
	} while (signal != TRAP);
}

/* Puts octets at *at, which moves; returns their address. */
static unsigned long
put(pid_t pid, unsigned long *at, const void *octets, size_t n)
{
	unsigned long address = *at;
	struct iovec here = {(void *)(uintptr_t)octets, n};
	struct iovec there = {(void *)address, n};

	if (process_vm_writev(pid, &here, 1, &there, 1, 0) != (ssize_t)n)
		fail(pid, "arguments");
	*at += (n + 16) & ~15UL;
	return address;
}

static unsigned long
argument(pid_t pid, unsigned long *at, const char *text)
{
	static char octets[ROOM_OCTETS / 2];
	size_t n;
	FILE *file;

	if (*text == '=')
		return put(pid, at, text + 1, strlen(text));
	if (strcmp(text, "_") == 0)
		return put(pid, at, octets, 512);
	if (*text != '@')
		return number(text);
	file = fopen(text + 1, "r");
	if (file == NULL)
		die(text + 1);
	n = fread(octets, 1, sizeof(octets), file);
	(void)fclose(file);
	return put(pid, at, octets, n > 0 ? n : 1);
}

static void
inject(pid_t pid, char **words)
{
	unsigned long a[ARGUMENTS] = {0}, at;
	long call = call_number(*words++);
	registers before, r;

	if (ptrace(PTRACE_SEIZE, pid, 0L, (long)PTRACE_O_TRACESYSGOOD) == -1 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0L, 0L) == -1)
		die("attach");
	(void)wait_stop(pid);
	step(pid);
	get(pid, &before);
	at = (STACK(&before) - RED_ZONE - ROOM_OCTETS) & ~15UL;
	for (size_t i = 0; i < ARGUMENTS && words[i] != NULL; i++)
		a[i] = argument(pid, &at, words[i]);
	r = before;
	set_call(pid, &r, call, a);
	set(pid, &r);
	step(pid);
	get(pid, &r);
	result = RESULT(&r);
	has_result = true;
	go_back(&before);
	set(pid, &before);
	/* One that a filter kills dies no sooner. */
	step(pid);
	if (ptrace(PTRACE_DETACH, pid, 0L, 0L) == -1)
		fail(pid, "detach");
	print_result();
}

static void
deny(int error, char *call, char **command)
{
	char *first = strchr(call, ':');
	struct sock_filter code[] = {
	    BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		offsetof(struct seccomp_data, args[0])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	if (first != NULL) {
		*first++ = '\0';
		code[3].k = (unsigned)number(first);
	} else {
		code[3].jf = 0;
	}
	code[1].k = (unsigned)call_number(call);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == -1)
		die("filter");
	(void)execvp(command[0], command);
	die(command[0]);
}

int
main(int argc, char **argv)
{
	if (argc > 4 && strcmp(argv[1], "-d") == 0)
		deny(error_number(argv[2]), argv[3], argv + 4);
	if (argc < 3) {
		(void)fputs("usage: inject PID CALL [ARGUMENT ...]\n", stderr);
		return 100;
	}
	inject((pid_t)number(argv[1]), argv + 2);
	return 0;
}
