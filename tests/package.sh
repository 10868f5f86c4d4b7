#!/bin/sh
# Installs a package into a fresh Debian and looks at all that it does there: by hand, and under a systemd that really
# runs. Needs root, debootstrap and systemd-nspawn (Debian: debootstrap, systemd-container).
#
#     tests/package.sh PACKAGE.deb DIRECTORY
#
# The fresh Debian is kept in DIRECTORY/base for the next time.
set -eu

deb=$1
dir=$2
here=$(dirname "$0")/package
suite=${SUITE:-bookworm}

[ "$(id -u)" = 0 ] || { echo "tests/package.sh needs root" >&2; exit 1; }
# What an ordinary Debian has, and what the tests look with.
packages=systemd,dbus,procps,adduser,man-db,init-system-helpers,ca-certificates,zsh,fish,sqlite3
if [ "$(cat "$dir/base/complete" 2>/dev/null)" != "$packages" ]; then
	rm -rf "$dir/base"
	mkdir -p "$dir"
	debootstrap --variant=minbase --include="$packages" "$suite" "$dir/base" >"$dir/debootstrap.log" || { tail "$dir/debootstrap.log" >&2; exit 1; }
	echo "$packages" >"$dir/base/complete"
fi

# A copy for each test, with the package and the script.
fresh() {
	rm -rf "$dir/root"
	cp -a "$dir/base" "$dir/root"
	cp "$deb" "$dir/root/root/apnsd.deb"
	cp "$here/$1" "$dir/root/root/check.sh"
}

contained() {
	timeout 900 systemd-nspawn --quiet --directory "$dir/root" --private-network --register=no --keep-unit --console=pipe \
		"$@" </dev/null
}

fresh by-hand.sh
contained sh /root/check.sh

fresh under-systemd.sh
cat >"$dir/root/etc/systemd/system/check.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/check.sh
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS >/root/status; systemctl --no-block poweroff'
StandardOutput=file:/root/check.log
StandardError=inherit
TimeoutStartSec=10min
[Install]
WantedBy=default.target
UNIT
mkdir -p "$dir/root/etc/systemd/system/default.target.wants"
ln -s ../check.service "$dir/root/etc/systemd/system/default.target.wants/check.service"
contained --boot >"$dir/boot.log" 2>&1 || echo "systemd-nspawn ended with $?" >&2
cat "$dir/root/root/check.log"
status=$(cat "$dir/root/root/status")
rm -rf "$dir/root"
exit "$status"
