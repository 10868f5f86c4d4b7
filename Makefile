# `make check` is the whole gate: format, lints, all tests, docs, units, clients, the status page in a browser. It needs a
# Rust toolchain with rustfmt and clippy, and what COMMANDS and PACKAGES name: a C compiler (for the TLS provider, SQLite,
# jemalloc, and the C client), the languages and libraries of the clients and of their tests, Chromium, systemd's and
# Prometheus' tools. A test whose tool is missing fails and says so. What the Python tests need besides comes from PyPI.

CARGO := cargo
# What is called, each with the Debian package that has it.
COMMANDS := gcc:gcc g++:g++ make:make python3:python3 openssl:openssl ruby:ruby rake:rake rubocop:rubocop \
	valgrind:valgrind pkg-config:pkg-config mandoc:mandoc chromium:chromium chromedriver:chromium-driver \
	systemd-analyze:systemd
# Packages without a command of their own.
PACKAGES := python3-venv libxmlrpc-core-c3-dev libcurl4-openssl-dev libjansson-dev ruby-xmlrpc ruby-minitest \
	ruby-railties ruby-activejob ruby-rack
# promtool and prometheus, where they are not installed: Debian's package would start a server on this machine.
TOOLS := target/tools
export PATH := $(CURDIR)/$(TOOLS)/usr/bin:$(PATH)

.PHONY: check clients page format lint test docs units tools bench fuzz package check-package

check: tools format lint test docs units clients page

# Installs what is missing, on Debian and where that is allowed; elsewhere it names it.
tools:
	@if command -v dpkg-query >/dev/null; then \
		for name in $(foreach pair,$(COMMANDS),$(lastword $(subst :, ,$(pair)))) $(PACKAGES); do \
			dpkg-query --show --showformat='$${db:Status-Status}' $$name 2>/dev/null | grep -qx installed \
				|| missing="$$missing $$name"; \
		done; \
	else \
		for name in $(foreach pair,$(COMMANDS),$(firstword $(subst :, ,$(pair)))); do \
			command -v $$name >/dev/null || missing="$$missing $$name"; \
		done; \
	fi; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "please install:$$missing" >&2; exit 1; \
		fi; \
	fi
	@if ! { command -v promtool && command -v prometheus; } >/dev/null; then \
		if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then \
			rm -rf $(TOOLS) && mkdir -p $(TOOLS) && cd $(TOOLS) \
				&& { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } \
				&& dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb; \
		else \
			echo "please install: promtool and prometheus" >&2; exit 1; \
		fi; \
	fi

format:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings

test:
	$(CARGO) test --locked

# They call the daemon that `test` has built.
clients:
	$(CARGO) build --locked
	$(MAKE) -C clients check

# systemd's own judgement of the units: nothing misspelt, and as closed as they say (1.5 of 10, where less is better).
units: target/units/apnsd.service
	systemd-analyze verify --man=no target/units/apnsd.service target/units/apnsd.socket
	systemd-analyze security --offline=true --no-pager --threshold=15 target/units/apnsd.service >target/units/security \
		|| { cat target/units/security; exit 1; }
	@tail -n 1 target/units/security

# With a program that is there: the package's is not installed here.
target/units/apnsd.service: systemd/apnsd.service systemd/apnsd.socket
	mkdir -p target/units
	cp systemd/apnsd.socket target/units/
	sed 's,/usr/bin/apnsd,/bin/true,' systemd/apnsd.service >$@

# The status page in a real browser.
page:
	$(CARGO) build --locked
	python3 tests/page/check.py

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# A Debian package in target/debian; needs `cargo install cargo-deb --locked`.
package:
	$(CARGO) build --locked --release
	rm -rf target/generated && target/release/apnsd generate target/generated
	packaging/changelog.sh >target/generated/changelog
	gzip -9n <CHANGELOG.md >target/generated/changelog.gz
	$(CARGO) deb --no-build --strip --locked --output target/debian/

# Has lintian and mandoc look at it, and installs it into a fresh Debian, which runs it, also under systemd. Needs root and
# Debian's debootstrap, systemd-container, lintian, mandoc.
check-package: package
	lintian --fail-on error,warning --suppress-tags-from-file packaging/lintian-suppressed \
		$$(ls -t target/debian/apnsd_*.deb | head -n 1)
	mandoc -T lint -W error target/generated/man/*.1 target/generated/man/*.5
	tests/package.sh $$(ls -t target/debian/apnsd_*.deb | head -n 1) target/package

# How fast everything is, on a quiet machine; takes some ten minutes with the build.
bench:
	$(CARGO) build --locked --release
	target/release/apnsd bench

# A minute for each decoder; needs `cargo install cargo-fuzz --locked`.
fuzz:
	@for target in $$(cd fuzz && $(CARGO) fuzz list); do \
		mkdir -p fuzz/corpus/$$target && \
		$(CARGO) fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=60 || exit 1; \
	done
