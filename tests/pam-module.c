/* SPDX-License-Identifier: ISC */
/*
 * A PAM module for the tests. auth: arguments "as NAME" make that the user;
 * "ask FILE" prompts in each style that there is and writes the answers to
 * the file, and what descriptors 0 and 1 are; "refuse" asks what no
 * application answers.  setcred with "ask" adds what it is to the file.
 */
#include <pwd.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
ask(pam_handle_t *pam, const char *path)
{
	FILE *file = fopen(path, "w");
	char *name = NULL, *secret = NULL, in[80] = "", out[80] = "";

	if (file == NULL ||
	    pam_prompt(pam, PAM_ERROR_MSG, NULL, "told-error") != PAM_SUCCESS ||
	    pam_prompt(pam, PAM_TEXT_INFO, NULL, "told-info") != PAM_SUCCESS ||
	    pam_prompt(pam, PAM_PROMPT_ECHO_ON, &name, "?") != PAM_SUCCESS ||
	    pam_prompt(pam, PAM_PROMPT_ECHO_OFF, &secret, "?") != PAM_SUCCESS)
		return PAM_SYSTEM_ERR;
	(void)readlink("/proc/self/fd/0", in, sizeof(in) - 1);
	(void)readlink("/proc/self/fd/1", out, sizeof(out) - 1);
	(void)fprintf(file, "%s %s %s %s\n", name, secret, in, out);
	return fclose(file) == 0 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
}

int
pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	char *answer;

	(void)flags;
	if (argc == 2 && strcmp(argv[0], "as") == 0)
		return pam_set_item(pam, PAM_USER, argv[1]);
	if (argc == 2 && strcmp(argv[0], "ask") == 0)
		return ask(pam, argv[1]);
	return pam_prompt(pam, PAM_RADIO_TYPE, &answer, "yes or no?");
}

int
pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	FILE *file;

	(void)pam;
	if (argc == 2 && strcmp(argv[0], "ask") == 0 &&
	    (file = fopen(argv[1], "a")) != NULL) {
		(void)fprintf(file, "%s\n",
		    (flags & PAM_ESTABLISH_CRED) != 0 ? "establish"
		    : (flags & PAM_DELETE_CRED) != 0  ? "delete"
						      : "else");
		(void)fclose(file);
	}
	return PAM_SUCCESS;
}

/* As modules do that have not heard of getpwnam_r. */
int
pam_sm_open_session(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam;
	(void)flags;
	(void)argc;
	(void)argv;
	return getpwnam("daemon") != NULL ? PAM_SUCCESS : PAM_SESSION_ERR;
}

int
pam_sm_close_session(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	return pam_sm_open_session(pam, flags, argc, argv);
}
