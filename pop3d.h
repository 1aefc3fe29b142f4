/* SPDX-License-Identifier: ISC */
#ifndef POP3D_POP3D_H
#define POP3D_POP3D_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "exit.h"
#include "peer.h"
#include "stream.h"
#include "tls.h"

#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/local/libexec"
#endif
#ifndef EMPTYDIR
#define EMPTYDIR "/var/empty"
#endif
#ifndef VERSION
#define VERSION "0"
#endif

enum {
	AUTH_IDLE_SEC = 60,   /* for a command in AUTHORIZATION */
	AUTH_TOTAL_SEC = 180, /* for all of them */
	PROXY_SEC = 3,	      /* for a PROXY header */
	CHECK_SEC = 60	      /* for the checkpassword program */
};

enum {
	GREETER_ID = 65534,   /* its user and group, without -u */
	ARGUMENTS_MOST = 256, /* of the checkpassword program */
	EXPIRE_NEVER = 100000,
	FLAGS = 16,	       /* letters, at most */
	SESSION_ARGUMENTS = 10 /* of the session: five options */
};

/* The command line. */
struct options {
	char flags[FLAGS + 1]; /* the letters of the flags that are set */
	const char *host;      /* -h */
	const char *maildir;   /* -m, or NULL */
	const char *root;      /* -r */
	unsigned tries;	       /* -n */
	unsigned idle_sec;     /* -T */
	unsigned uid, gid;     /* -u */
	unsigned delay_sec;    /* -d, or 0 */
	unsigned expire_days;  /* -e, or EXPIRE_NEVER */
	const char *hold;      /* -k, or NULL */
	char **program;	       /* checkpassword and its arguments */
	/* Options with arguments that go to the session, too. */
	char *session[SESSION_ARGUMENTS];
	size_t session_count;
};

/* What one process knows of its client. */
struct client {
	struct options options;
	struct peer peer;
	struct tls tls;
	bool stderr_is_client; /* nobody may write there */
	struct stream stream;
};

/* Whether the flag of that letter is set. */
bool flag(const struct client *c, char letter);

/* Sets it. */
void set_flag(struct options *o, int letter);

/* How a connection ended; the greeter's exit code, too. */
enum reason {
	REASON_QUIT,
	REASON_DISCONNECT,
	REASON_TIMEOUT,
	REASON_PROXY, /* no PROXY header, or a wrong one */
	REASON_ERROR
};

/* "quit", "disconnect", "timeout", "proxy" or "error", for the log. */
const char *reason_text(enum reason reason);

/* Whether one may log in at all: TLS is on, or not a condition. */
bool login_allowed(const struct client *c);

/* Whether a password may cross this connection in clear (RFC 8314 would
 * rather have TLS): TLS is on, or the client is this machine, or -c. */
bool clear_allowed(const struct client *c);

/* How long AUTHORIZATION waits for a line, or for a handshake. */
unsigned auth_idle_sec(const struct client *c);

/* Whether STLS is to be had (RFC 2595 section 4): not when TLS is on. */
bool stls_offered(const struct client *c);

/* The processes.  Each returns its exit code. */
int greeter_run(struct client *c, int control);
int monitor_run(struct client *c, int control, pid_t greeter);
int session_run(struct client *c);

#endif
