#!/bin/sh
# SPDX-License-Identifier: ISC
# install-needs.sh COMMAND=PACKAGE ...: installs Debian's packages for what is
# missing, quietly; /FILE=PACKAGE looks for a file instead of a command.
set -eu

missing=
for need; do
	thing=${need%%=*}
	case $thing in
	/*) [ -e "$thing" ] && continue ;;
	*) command -v "$thing" >/dev/null 2>&1 && continue ;;
	esac
	missing="$missing ${need#*=}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "needed, but not installed:$missing" >&2
	exit 1
fi
# One at a time, if several targets of make run side by side; but no daemon
# that a package starts may keep the lock.
exec 9<"$0"
flock 9
echo "installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT

install() {
	# shellcheck disable=SC2086 # several packages, one a word
	apt-get install -o DPkg::Lock::Timeout=300 -qq -y \
	    --no-install-recommends $missing >"$log" 2>&1 9<&-
}

# A package list that is there may do, and is fetched if it does not.
if ! install; then
	apt-get update -qq >"$log" 2>&1 9<&- || :
	if ! install; then
		cat "$log" >&2
		exit 1
	fi
fi
