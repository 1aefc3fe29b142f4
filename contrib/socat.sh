#!/bin/sh
# pop3d under socat: for a trial, or where nothing else is at hand.
# Run this as root; the log goes to standard error.
# Change: 200, the connections at a time.  There is no limit for one address.
# With "nofork" pop3d has the client's own socket, and with it the address.
exec socat TCP4-LISTEN:110,reuseaddr,fork,max-children=200 \
    EXEC:/usr/local/sbin/pop3d,nofork
