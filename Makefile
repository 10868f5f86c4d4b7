# `make check` is the whole gate: format, lints, all tests, docs. It needs a Rust toolchain with rustfmt and clippy, a C
# compiler (for the TLS provider, SQLite, jemalloc) and python3 (its xmlrpc.client is one of the callers in the tests).

CARGO := cargo
PACKAGES := gcc make python3 openssl

.PHONY: check format lint test docs tools fuzz

check: tools format lint test docs

# Installs what is missing, on Debian and where that is allowed; elsewhere it names it.
tools:
	@for tool in $(PACKAGES); do \
		command -v $$tool >/dev/null || missing="$$missing $$tool"; \
	done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -y -qq $$missing; \
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

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# A minute for each decoder; needs `cargo install cargo-fuzz --locked`.
fuzz:
	@for target in $$(cd fuzz && $(CARGO) fuzz list); do \
		mkdir -p fuzz/corpus/$$target && \
		$(CARGO) fuzz run -s none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=60 || exit 1; \
	done
