#!/bin/sh
# SPDX-License-Identifier: ISC
# count-lines.sh FILE ...: lines of C a file, without blank lines and
# comments, and the sum.  Comments end where they say, even within a line.
set -eu
for file; do
	# The preprocessor knows best what a comment is.
	lines=$(sed 's/^[[:space:]]*#/@/' "$file" |
	    cpp -P -undef -fpreprocessed 2>/dev/null | grep -c '[^[:space:]]')
	echo "$lines $file"
done | awk '{ sum += $1; print } END { print sum, "in all" }'
