# SPDX-License-Identifier: ISC
.POSIX:

VERSION = 0.1.0

PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
LIBEXECDIR = $(PREFIX)/libexec
MANDIR = $(PREFIX)/share/man
EMPTYDIR = /var/empty

# Static programs on musl where it is; CC=cc makes ordinary ones.
CC = ./static-cc
# For what must find shared libraries when it runs: NSS's, PAM's modules.
NSS_CC = cc
INSTALL = install
CFLAGS = -O2
LIBCRYPT = -lcrypt
LIBNETTLE = -lnettle
# pop3d-checkpassword-pam is made where this and its header are; empty: not.
LIBPAM = -lpam

# Yours, last of all: CPPFLAGS, CFLAGS, LDFLAGS, or any of the above.
-include config.mk

WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
HARDENING = -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LINKING = -pie -Wl,-z,relro,-z,now,-z,noexecstack
BASE = -std=c11 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
	-DLIBEXECDIR='"$(LIBEXECDIR)"' -DEMPTYDIR='"$(EMPTYDIR)"' \
	$(WARNINGS) $(HARDENING) $(CPPFLAGS) $(CFLAGS)

POP3D = pop3d.o auth.o command.o index.o listing.o lock.o log.o maildir.o \
	monitor.o peer.o proxy.o sandbox.o session.o stream.o tls.o uidl.o
DOCTOR = account.o doctor.o doctor-mail.o doctor-service.o doctor-users.o \
	index.o listing.o lock.o maildir.o peer.o sandbox.o stream.o uidl.o
PROGRAMS = pop3d pop3d-checkpassword pop3d-checkpassword-nss \
	pop3d-checkpassword-pam pop3d-passwd pop3d-doctor
PAGES = man/pop3d.8 man/pop3d-checkpassword.8 man/pop3d-passwd.8 \
	man/pop3d-doctor.8

all: $(PROGRAMS)

pop3d: $(POP3D)
	$(CC) $(LINKING) -o $@ $(POP3D) $(LDFLAGS)

pop3d-checkpassword: checkpassword.o account.o
	$(CC) $(LINKING) -o $@ checkpassword.o account.o $(LDFLAGS) \
	    $(LIBCRYPT) $(LIBNETTLE)

# The same program, dynamic, whatever CC is: for accounts from NSS.
pop3d-checkpassword-nss: checkpassword.c account.c account.h exit.h
	$(NSS_CC) $(BASE) $(LINKING) -o $@ checkpassword.c account.c \
	    $(LDFLAGS) $(LIBCRYPT) $(LIBNETTLE)

# Without libpam all else is made as with it.
pop3d-checkpassword-pam: pam.c account.c account.h exit.h
	if [ -n "$(LIBPAM)" ] && echo '#include <security/pam_appl.h>' | \
	    $(NSS_CC) $(CPPFLAGS) -E - >/dev/null 2>&1; then \
	    $(NSS_CC) $(BASE) $(LINKING) -o $@ pam.c account.c $(LDFLAGS) \
	    $(LIBPAM); fi

pop3d-passwd: passwd.o account.o
	$(CC) $(LINKING) -o $@ passwd.o account.o $(LDFLAGS) $(LIBCRYPT)

pop3d-doctor: $(DOCTOR)
	$(CC) $(LINKING) -o $@ $(DOCTOR) $(LDFLAGS) $(LIBCRYPT)

.SUFFIXES: .c .o
.c.o:
	$(CC) $(BASE) -c -o $@ $<

account.o checkpassword.o passwd.o: account.h exit.h
auth.o: command.h exit.h monitor.h peer.h pop3d.h proxy.h sandbox.h stream.h \
	tls.h
command.o: command.h exit.h peer.h pop3d.h stream.h tls.h
doctor.o: account.h doctor.h exit.h log.h peer.h pop3d.h stream.h tls.h
doctor-mail.o: account.h doctor.h exit.h index.h listing.h lock.h maildir.h \
	peer.h pop3d.h sandbox.h stream.h tls.h
doctor-service.o: account.h doctor.h exit.h peer.h pop3d.h sandbox.h \
	stream.h tls.h
doctor-users.o: account.h doctor.h exit.h peer.h pop3d.h stream.h tls.h
index.o: index.h listing.h
listing.o: listing.h
lock.o: listing.h lock.h
log.o: log.h
maildir.o: index.h listing.h lock.h log.h maildir.h stream.h uidl.h
monitor.o: exit.h log.h monitor.h peer.h pop3d.h sandbox.h stream.h tls.h
peer.o: peer.h
pop3d.o: command.h exit.h log.h peer.h pop3d.h sandbox.h stream.h tls.h
proxy.o: command.h exit.h peer.h pop3d.h proxy.h stream.h tls.h
sandbox.o: exit.h log.h peer.h pop3d.h sandbox.h stream.h tls.h
session.o: command.h exit.h index.h listing.h lock.h log.h maildir.h peer.h \
	pop3d.h sandbox.h stream.h tls.h
stream.o: stream.h
tls.o: command.h exit.h log.h peer.h pop3d.h stream.h tls.h
uidl.o: index.h listing.h lock.h log.h maildir.h uidl.h

install: all
	mkdir -p $(DESTDIR)$(SBINDIR) $(DESTDIR)$(LIBEXECDIR) \
	    $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(EMPTYDIR)
	chmod 555 $(DESTDIR)$(EMPTYDIR)
	$(INSTALL) -m 755 pop3d pop3d-passwd pop3d-doctor $(DESTDIR)$(SBINDIR)
	$(INSTALL) -m 755 pop3d-checkpassword pop3d-checkpassword-nss \
	    $(DESTDIR)$(LIBEXECDIR)
	[ ! -e pop3d-checkpassword-pam ] || $(INSTALL) -m 755 \
	    pop3d-checkpassword-pam $(DESTDIR)$(LIBEXECDIR)
	$(INSTALL) -m 644 $(PAGES) $(DESTDIR)$(MANDIR)/man8

# The empty directory may be somebody else's, too, and stays.
uninstall:
	cd $(DESTDIR)$(SBINDIR) && rm -f pop3d pop3d-passwd pop3d-doctor
	cd $(DESTDIR)$(LIBEXECDIR) && \
	    rm -f pop3d-checkpassword pop3d-checkpassword-nss \
	    pop3d-checkpassword-pam
	cd $(DESTDIR)$(MANDIR)/man8 && \
	    rm -f pop3d.8 pop3d-checkpassword.8 pop3d-passwd.8 \
	    pop3d-doctor.8

# A release: what is committed, the same octets wherever it is made.
RELEASE = pop3d-$(VERSION)
dist:
	mkdir -p build
	git -c tar.umask=022 archive --prefix=$(RELEASE)/ \
	    -o build/$(RELEASE).tar HEAD
	gzip -9nf build/$(RELEASE).tar

# A Debian package of that release; see contrib/debian.
deb: dist
	rm -rf build/deb
	mkdir -p build/deb
	gzip -dc build/$(RELEASE).tar.gz | (cd build/deb && tar -xf -)
	cd build/deb/$(RELEASE) && cp -R contrib/debian debian && \
	    dpkg-buildpackage -us -uc -b

# The demonstration of README's quick start.
demo:
	@sh tests/demo.sh

# Everything that CI runs; what it needs is installed where it may be.
check:
	@sh tests/check.sh

lint:
	@sh tests/lint.sh

# The same tests with the address and undefined-behaviour sanitizers. The first
# calls PAM's modules' crypt_r at address 0 if it does not see it at the start.
asan:
	@ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
	UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1 \
	sh tests/check.sh asan CC=cc HARDENING=-fPIE CPPFLAGS=-DINSTRUMENTED \
	    CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined" \
	    LDFLAGS="-fsanitize=address,undefined" \
	    LIBPAM="-lpam -Wl,--no-as-needed -lcrypt"

# Every target in fuzz/, for so long; inputs that fail stay in build/fuzz.
SECONDS = 20
.PHONY: fuzz
fuzz:
	@sh fuzz/run.sh $(SECONDS)

# The same tests with pop3d under the memory sanitizer; libcrypt, which other
# programs use, is not made for it.
msan:
	@sh tests/install-needs.sh clang=clang
	@sh tests/install-needs.sh "$$(clang \
	    -print-file-name=libclang_rt.msan-$$(uname -m).a)=libclang-rt-dev"
	@MSAN_OPTIONS=abort_on_error=1 POP3D_TOOL=msan \
	sh tests/check.sh msan pop3d pop3d-doctor CC=clang HARDENING=-fPIE \
	    CPPFLAGS=-DINSTRUMENTED LDFLAGS=-fsanitize=memory \
	    CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=memory -fsanitize-memory-track-origins"

# Most of them with every process of pop3d under valgrind; see check.sh.
valgrind:
	@POP3D_TOOL=valgrind sh tests/check.sh valgrind CC=cc \
	    HARDENING=-fPIE CPPFLAGS=-DINSTRUMENTED CFLAGS="-O1 -g"

# Which lines no test runs; root, so that the greeter's are counted as it is.
coverage:
	@sh tests/coverage.sh

# Every system call failing, one at a time; half an hour.
faults:
	@sh tests/faults.sh

# Beside the peers that Debian has; root, and an hour.  Results go to
# standard output: make -s bench >bench/RESULTS.md
bench: all
	@sh bench/run.sh

clean:
	rm -rf *.o $(PROGRAMS) build
