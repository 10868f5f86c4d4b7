# `make check` is the whole gate: format, lints, all tests, docs, clients. It needs a Rust toolchain with rustfmt and
# clippy, and what PACKAGES names: a C compiler (for the TLS provider, SQLite, jemalloc, and the C client), and the
# languages and libraries of the clients and of their tests. What the Python tests need besides comes from PyPI.

CARGO := cargo
# Debian's names. Commands of the first line are looked for elsewhere.
COMMANDS := gcc g++ make python3 openssl ruby rake rubocop valgrind pkg-config mandoc
PACKAGES := $(COMMANDS) python3-venv libxmlrpc-core-c3-dev libcurl4-openssl-dev libjansson-dev \
	ruby-xmlrpc ruby-minitest ruby-railties ruby-activejob ruby-rack

.PHONY: check clients page format lint test docs tools bench fuzz package check-package

check: tools format lint test docs clients

# Installs what is missing, on Debian and where that is allowed; elsewhere it names it.
tools:
	@if command -v dpkg-query >/dev/null; then \
		for name in $(PACKAGES); do \
			dpkg-query --show --showformat='$${db:Status-Status}' $$name 2>/dev/null | grep -qx installed \
				|| missing="$$missing $$name"; \
		done; \
	else \
		for name in $(COMMANDS); do command -v $$name >/dev/null || missing="$$missing $$name"; done; \
	fi; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
		else \
			echo "please install:$$missing" >&2; exit 1; \
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

# The status page in a real browser: needs Debian's chromium and chromium-driver, and python3.
page:
	$(CARGO) build --locked
	python3 tests/page/check.py

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# A Debian package in target/debian; needs `cargo install cargo-deb --locked`.
package:
	$(CARGO) build --locked --release
	rm -rf target/generated && target/release/apnsd generate target/generated
	$(CARGO) deb --no-build --locked --output target/debian/

# Installs it into a fresh Debian, which runs it, also under systemd. Needs root, debootstrap, systemd-container.
check-package: package
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
