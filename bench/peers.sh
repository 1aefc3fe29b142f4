# shellcheck shell=sh disable=SC2034,SC2153,SC2154 # parts of run.sh
# SPDX-License-Identifier: ISC
# The servers that are measured: the package of each, its port, where it finds
# mail, and how it is configured and started.  Read by run.sh, which sets $W (the
# working directory), $IDENTITY (uid:gid of the mailboxes) and $HASH.
#
# Each package is installed into a root of its own, an overlay over the running
# system that vanishes with the benchmark: Debian's POP3 servers conflict with
# each other, and nothing of the machine is changed.  pop3d gets such a root as
# well.  The mail is at /bench in all of them.

ALL_SERVERS="pop3d dovecot dovecot-login dovecot-pooled courier popa3d
solid-pop3d mailutils"

# server_package SERVER: the package, which also names the root; none for pop3d.
server_package() {
	case $1 in
	pop3d) echo pop3d ;;
	dovecot*) echo dovecot-pop3d ;;
	courier) echo courier-pop ;;
	mailutils) echo mailutils-pop3d ;;
	*) echo "$1" ;;
	esac
}

server_title() {
	case $1 in
	dovecot) echo "Dovecot, default" ;;
	dovecot-login) echo "Dovecot, pooled login" ;;
	dovecot-pooled) echo "Dovecot, all pooled" ;;
	courier) echo "Courier" ;;
	mailutils) echo "GNU Mailutils" ;;
	*) echo "$1" ;;
	esac
}

server_port() {
	case $1 in
	pop3d) echo 1101 ;;
	dovecot) echo 1102 ;;
	dovecot-login) echo 1103 ;;
	dovecot-pooled) echo 1104 ;;
	courier) echo 1105 ;;
	popa3d) echo 1106 ;;
	solid-pop3d) echo 1107 ;;
	mailutils) echo 1108 ;;
	reference) echo 1199 ;;
	esac
}

# server_store SERVER: maildir, mbox, or own: Maildirs of its own, because it
# renames all messages that it sees.
server_store() {
	case $1 in
	popa3d) echo mbox ;;
	mailutils) echo own ;;
	*) echo maildir ;;
	esac
}

# server_setup SERVER: how it was set up, for the reader of the results.
server_setup() {
	case $1 in
	pop3d) echo "tcpserver; pop3d-checkpassword -f with the passwd-file" ;;
	dovecot) echo "as installed, but for the passwd-file (passdb and" \
	    "userdb), mail_location and no TLS" ;;
	dovecot-login) echo "the same; pop3-login with service_count = 0 and" \
	    "process_min_avail = 2" ;;
	dovecot-pooled) echo "the same, and pop3 with service_count = 1000" \
	    "and process_min_avail = 8" ;;
	courier) echo "couriertcpd and authdaemond with authuserdb; as" \
	    "installed, but for MAXPERIP = 40" ;;
	popa3d) echo "tcpserver, as installed: PAM, mbox in /var/mail" ;;
	solid-pop3d) echo "tcpserver, as installed (PAM), MailDropType" \
	    "maildir" ;;
	mailutils) echo "daemon, as installed (PAM), mailbox-pattern" \
	    "maildir:" ;;
	esac
}

# What the reader of its figures should know.
server_remarks() {
	case $1 in
	dovecot)
		echo "Dovecot's own LDA and LMTP write ,W=octets into file" \
		    "names, which spares it the first count; these names" \
		    "are as Postfix writes them."
		;;
	courier)
		echo "couriertcpd runs without courierlogger, which takes its" \
		    "log in an ordinary installation."
		;;
	popa3d)
		echo "popa3d reads an mbox, one sequential file, and keeps" \
		    "no index.  In its standalone mode (-D) it closed" \
		    "connections unanswered after a burst from one address."
		;;
	mailutils)
		echo "GNU Mailutils renames every message that it sees (a=," \
		    "u= in the name), and so has Maildirs of its own; they" \
		    "are renamed back before a first open.  Its lock" \
		    "directory /var/lock/subsys/mail, which the package" \
		    "forgets, was made."
		;;
	esac
}

# system_users ROOT: the benchmark's users as accounts of that root.
system_users() {
	while IFS=: read -r name _ uid gid _ home _; do
		echo "$name:x:$uid:$gid::$home:/bin/sh" >>"$1/etc/passwd"
		echo "$name:$HASH:19000:0:99999:7:::" >>"$1/etc/shadow"
	done <"$W/mail/users"
}

dovecot_config() { # ROOT SERVER
	mkdir -p "$1/etc/bench" "$1/run/$2" "$1/var/lib/$2"
	cat >"$1/etc/bench/$2.conf" <<END
protocols = pop3
listen = 127.0.0.1
base_dir = /run/$2
state_dir = /var/lib/$2
ssl = no
log_path = /var/log/$2.log
mail_location = maildir:~/Maildir
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = /bench/users
}
userdb {
  driver = passwd-file
  args = /bench/users
}
service pop3-login {
  inet_listener pop3 {
    port = $(server_port "$2")
  }
  inet_listener pop3s {
    port = 0
  }
END
	[ "$2" = dovecot ] || cat >>"$1/etc/bench/$2.conf" <<END
  service_count = 0
  process_min_avail = 2
END
	echo "}" >>"$1/etc/bench/$2.conf"
	[ "$2" != dovecot-pooled ] || cat >>"$1/etc/bench/$2.conf" <<END
service pop3 {
  service_count = 1000
  process_min_avail = 8
  process_limit = 64
}
END
}

courier_config() { # ROOT
	sed -i -e 's/^authmodulelist=.*/authmodulelist="authuserdb"/' \
	    "$1/etc/courier/authdaemonrc"
	sed -i -e 's/^MAXPERIP=.*/MAXPERIP=40/' -e 's/^MAXDAEMONS=.*/MAXDAEMONS=80/' \
	    -e 's/^ADDRESS=.*/ADDRESS=127.0.0.1/' \
	    -e "s/^PORT=.*/PORT=$(server_port courier)/" "$1/etc/courier/pop3d"
	while IFS=: read -r name hash uid gid _ home _; do
		printf '%s\tuid=%s|gid=%s|home=%s|shell=/bin/sh|systempw=%s\n' \
		    "$name" "$uid" "$gid" "$home" "$hash"
	done <"$W/mail/users" >"$1/etc/courier/userdb"
	chmod 600 "$1/etc/courier/userdb"
	chroot "$1" /usr/sbin/makeuserdb
	mkdir -p "$1/run/courier/authdaemon"
	chroot "$1" chown courier:courier /run/courier /run/courier/authdaemon
}

# server_configure SERVER ROOT
server_configure() {
	case $1 in
	dovecot*) dovecot_config "$2" "$1" ;;
	courier) courier_config "$2" ;;
	popa3d)
		system_users "$2"
		mkdir -p "$2/var/mail"
		mount --bind "$W/mail/spool" "$2/var/mail"
		;;
	solid-pop3d)
		system_users "$2"
		cat >"$2/etc/spop3d.conf" <<END
<Global>
	MailDropName	"/bench/home/%s/Maildir"
	MailDropType	maildir
	LogStatistics	no
</Global>
END
		chmod 644 "$2/etc/spop3d.conf"
		;;
	mailutils)
		system_users "$2"
		mkdir -p "$W/mail/own"
		mount --bind "$W/mail/own" "$2/bench/home"
		cat >"$2/etc/mailutils.conf" <<END
mailbox {
	mailbox-pattern "maildir:/bench/home/\${user}/Maildir";
};
program pop3d {
	mode daemon;
	foreground yes;
	max-children 64;
	server 127.0.0.1:$(server_port mailutils) {
	};
};
END
		[ -e "$2/etc/pam.d/gnu-pop3d" ] ||
		    printf '@include common-auth\n@include common-account\n' \
			>"$2/etc/pam.d/gnu-pop3d"
		;;
	esac
}

# server_command SERVER: the command in its root, by sh, in the foreground or not.
server_command() {
	case $1 in
	pop3d)
		echo "exec tcpserver -c 200 -HRl localhost 127.0.0.1" \
		    "$(server_port "$1") /bench/bin/pop3d -r /bench/empty" \
		    "/bench/bin/pop3d-checkpassword -f /bench/users"
		;;
	dovecot*) echo "exec dovecot -F -c /etc/bench/$1.conf" ;;
	courier)
		# What the package's /usr/lib/courier/pop3d start does.
		cat <<'END'
(set -a; . /etc/courier/authdaemonrc
exec /usr/lib/courier/courier-authlib/authdaemond) &
set -a
. /etc/courier/pop3d-ssl
. /etc/courier/pop3d
exec couriertcpd -address=$ADDRESS -maxprocs=$MAXDAEMONS -maxperip=$MAXPERIP \
    $TCPDOPTS $PORT /usr/lib/courier/courier/courierpop3login \
    /usr/lib/courier/courier/courierpop3d $MAILDIRPATH
END
		;;
	popa3d | solid-pop3d)
		echo "exec tcpserver -c 200 -HRl localhost 127.0.0.1" \
		    "$(server_port "$1") /usr/sbin/$1"
		;;
	mailutils)
		# The package forgets the directory of its locks.
		echo "mkdir -p /run/lock/subsys &&" \
		    "mkdir -m 1777 /run/lock/subsys/mail &&" \
		    "exec /usr/sbin/pop3d"
		;;
	esac
}
