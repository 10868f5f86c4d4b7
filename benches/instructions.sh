#!/bin/sh
# Instructions that each piece of benches/pieces.rs takes for one notification, counted by valgrind: the same on a busy
# machine as on a quiet one, so that two versions can be compared. Usage: benches/instructions.sh [PIECE...]
set -eu
cd "$(dirname "$0")/.."
binary=$(cargo bench --locked --no-run --bench pieces --message-format=json 2>/dev/null \
	| sed -n 's/.*"executable":"\([^"]*pieces-[^"]*\)".*/\1/p' | tail -n 1)
[ -n "$binary" ] || { echo "benches/pieces.rs does not build: cargo bench --no-run says why" >&2; exit 1; }
[ $# -gt 0 ] || set -- $(PIECE='' "$binary")

# Instructions of a run that does the piece so often.
count() {
	PIECE=$1 TIMES=$2 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" 2>&1 \
		| sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

for piece in "$@"; do
	case $piece in
	commit) rows=64 ;;
	decode.single) rows=1 ;;
	*) rows=1000 ;;
	esac
	# The difference leaves out what the program does before and after.
	few=$(count "$piece" 1)
	many=$(count "$piece" 11)
	printf '%-20s %10d instructions per notification\n' "$piece" $(((many - few) / 10 / rows))
done
