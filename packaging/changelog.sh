#!/bin/sh
# Writes Debian's changelog of the package, made from CHANGELOG.md and Cargo.toml: one entry for each version there, newest
# first. What is unreleased is in the version of Cargo.toml. Dates are those of SOURCE_DATE_EPOCH, else of the last commit.
#
#     packaging/changelog.sh >target/generated/changelog
set -eu
cd "$(dirname "$0")/.."

value() {
	sed -n "s/^$1 = \"\(.*\)\"/\1/p" Cargo.toml | head -n 1
}

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
awk -v version="$(value version)" -v maintainer="$(value maintainer)" -v date="$(LC_ALL=C date -uR -d "@$epoch")" '
	# Debian has lines of 80.
	function write(mark, text,    count, words, line, i) {
		count = split(text, words, " ")
		line = mark
		for (i = 1; i <= count; i++) {
			if (length(line) + 1 + length(words[i]) > 79) { print line; line = "   " }
			line = line " " words[i]
		}
		print line
	}
	function flush() { if (item != "") write("  *", item); item = "" }
	function end() { flush(); if (open) printf "\n -- %s  %s\n\n", maintainer, date; open = 0 }
	/^## / {
		end()
		printf "apnsd (%s-1) unstable; urgency=medium\n\n", $2 == "Unreleased" ? version : $2
		open = 1
		next
	}
	/^$/ { flush(); next }
	open && /^- / { flush(); item = substr($0, 3); next }
	open { item = item " " $0 }
	END { end() }
' CHANGELOG.md
