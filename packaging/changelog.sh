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
	function end() { if (open) printf "\n -- %s  %s\n\n", maintainer, date; open = 0 }
	/^## / {
		end()
		name = $2 == "Unreleased" ? version : $2
		printf "apnsd (%s-1) unstable; urgency=medium\n\n", name
		open = 1
		next
	}
	open && /^- / { print "  * " substr($0, 3); next }
	open && /^  [^ ]/ { print "  " $0; next }
	open && /^[^ ]/ { print "  * " $0 }
	END { end() }
' CHANGELOG.md
