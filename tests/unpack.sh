#!/bin/sh
# SPDX-License-Identifier: ISC
# unpack.sh PACKAGE ...: unpacks Debian's packages to build/unpacked/PACKAGE
# without installing them, for servers that conflict with one another.
set -eu
cd "$(dirname "$0")/.."

mkdir -p build/unpacked
exec 9>build/unpacked/lock
flock 9
for package; do
	[ ! -e "build/unpacked/$package" ] || continue
	command -v apt-get >/dev/null || {
		echo "needed, but not to be had: $package" >&2
		exit 1
	}
	work=$(mktemp -d build/unpacked/XXXXXX)
	trap 'rm -rf "$work"' EXIT
	(
		cd "$work"
		chmod 755 .
		# As in install-needs.sh: the package list may do.
		apt-get download "$package" >log 2>&1 || {
			apt-get update -qq >log 2>&1 || :
			apt-get download "$package" >log 2>&1
		} || {
			cat log >&2
			exit 1
		}
		dpkg-deb -x ./*.deb tree
	)
	mv "$work/tree" "build/unpacked/$package"
	rm -rf "$work"
done
