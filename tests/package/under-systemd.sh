#!/bin/sh
# Inside a fresh Debian that systemd has booted: the service, its sandbox, its reloads, its ends, its socket.
set -eu

fail() {
	echo "FAILED: $*" >&2
	journalctl -u apnsd --no-pager | tail -n 40 >&2
	exit 1
}

is() {
	[ "$2" = "$3" ] || fail "$1 is \`$2\`, not \`$3\`"
}

unit() {
	systemctl show --value -p "$1" apnsd
}

# Until a property is what it should be.
becomes() {
	for _ in $(seq 600); do
		if [ "$(unit "$1")" = "$2" ]; then return; fi
		sleep 0.1
	done
	fail "$1 is \`$(unit "$1")\`, not \`$2\`"
}

token=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
config=/etc/apnsd/apnsd.toml

dpkg -i /root/apnsd.deb
is 'the service after the installation' "$(unit ActiveState)" active
is 'its line of status' "$(unit StatusText)" '0 apps; 0 notifications wait'
systemd-analyze verify apnsd.service apnsd.socket || fail 'the units'
systemd-analyze security --no-pager --threshold=15 apnsd.service >/root/security || fail 'the sandbox'
tail -n 1 /root/security
for line in 'NoNewPrivs:.1' 'Seccomp:.2' 'CapBnd:.0*$'; do
	grep -q "^$line" "/proc/$(unit MainPID)/status" || fail "the process is not closed in: $line"
done
if nsenter -t "$(unit MainPID)" -m touch /etc/apnsd/x /home/x 2>/root/refused; then fail 'it sees more than its state for writing'; fi

echo '== delivery, with keys sealed'
apnsd simulate --dir /root/simulator >/root/simulator.log &
while [ ! -e /root/simulator/apnsd.toml ]; do sleep 0.1; done
install -m 0640 -g apnsd /root/simulator/ca.pem /etc/apnsd/ca.pem
printf '[environments.sandbox]\ngateway = "https://127.0.0.1:2197"\nca = "ca.pem"\n' >>"$config"
install -d -m 0700 /etc/credstore
head -c 32 /dev/urandom >/etc/credstore/apnsd-key
systemctl restart apnsd
apnsd provision shop /root/simulator/good.pem sandbox
apnsd send shop --token $token --alert Hello
entries() {
	journalctl --no-pager -o json _SYSTEMD_UNIT=apnsd.service APNSD_APP=shop SYSLOG_IDENTIFIER=apnsd PRIORITY=6
}
entries | grep -q '"MESSAGE":"connected app=shop' || fail 'the journal has no entries of the app'
if journalctl --no-pager -o json -u apnsd | grep -q $token; then fail 'a token is in the journal'; fi
apnsd apps --json | grep -q '"secrets": "sealed"' || fail 'the key of the store is not there'
install -m 0640 -g apnsd /root/simulator/good.pem /etc/apnsd/certs/
apnsd provision by-path /etc/apnsd/certs/good.pem sandbox --path
becomes StatusText '2 apps; 0 notifications wait'

echo '== reload'
systemctl reload apnsd
becomes ActiveState active
sed -i '1i limits.depth = 0' "$config"
if systemctl reload apnsd; then fail 'a configuration with problems was taken'; fi
is 'the service after that' "$(unit ActiveState)" active

echo '== a start that cannot succeed is not tried again'
if systemctl restart apnsd; then fail 'it starts with a configuration with problems'; fi
is 'its end' "$(unit ActiveState) $(unit ExecMainStatus) $(unit NRestarts)" 'failed 78 0'
sed -i 1d "$config"
systemctl start apnsd

echo '== death and silence'
killed=$(unit MainPID)
kill -KILL "$killed"
becomes NRestarts 1
becomes ActiveState active
mkdir -p /run/systemd/system/apnsd.service.d
printf '[Service]\nWatchdogSec=4s\n' >/run/systemd/system/apnsd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart apnsd
sleep 6
is 'the service that feeds its watchdog' "$(unit ActiveState) $(unit NRestarts)" 'active 0'
kill -STOP "$(unit MainPID)"
becomes NRestarts 1
becomes ActiveState active
journalctl -u apnsd --no-pager | grep -q 'Watchdog timeout' || fail 'the watchdog did not end it'

echo '== restarts and an upgrade through the socket refuse nobody and lose nothing'
systemctl enable apnsd.socket
systemctl stop apnsd
systemctl start apnsd.socket
# What callers use stays while the package changes.
cp /usr/bin/apnsd /root/caller
mkdir /root/accepted
lanes=
for lane in 1 2 3; do
	(
		number=0
		while [ ! -e /root/done ]; do
			number=$((number + 1))
			token=$(printf '%02x%062x' $lane $number)
			/root/caller notify shop --token "$token" --alert Hello >"/root/said.$lane" 2>&1 || {
				cp "/root/said.$lane" /root/refused.by.$lane
				exit 1
			}
			echo "$token" >>/root/accepted/$lane
		done
	) &
	lanes="$lanes $!"
done
for _ in 1 2 3 4 5; do systemctl restart apnsd; done
# A newer version, which comes with another configuration than the one that was changed here.
dpkg-deb -R /root/apnsd.deb /root/newer
sed -i 's/^Version: .*/&+newer/' /root/newer/DEBIAN/control
echo '# newer' >>/root/newer/etc/apnsd/apnsd.toml
dpkg-deb -b /root/newer /root/newer.deb >/dev/null
cp -p "$config" /root/before.toml
before=$(unit MainPID)
dpkg --force-confdef --force-confold -i /root/newer.deb
becomes ActiveState active
[ "$(unit MainPID)" != "$before" ] || fail 'an upgrade leaves the old program running'
is 'the socket after an upgrade' "$(systemctl is-active apnsd.socket)" active
cmp "$config" /root/before.toml || fail 'an upgrade changes the configuration'
is 'the mode of it' "$(stat -c '%a %U:%G' "$config")" "$(stat -c '%a %U:%G' /root/before.toml)"
touch /root/done
for lane in $lanes; do wait "$lane" || fail "a caller was refused: $(cat /root/refused.by.*)"; done
is 'the app after all of this' "$(apnsd apps | awk 'NR == 3 { print $1 }')" shop
becomes StatusText '2 apps; 0 notifications wait'
sort /root/accepted/* >/root/tokens
bash -c '
after=0
while :; do
	exec 3<>/dev/tcp/127.0.0.1/2199
	printf "GET /journal?after=$after&limit=1000 HTTP/1.0\r\n\r\n" >&3
	page=$(tr -d " \n" <&3)
	grep -o "\"token\":\"[0-9a-f]*\"" <<<"$page" | cut -d\" -f4
	next=$(grep -o "\"next\":[0-9]*" <<<"$page" | tail -n 1 | cut -d: -f2)
	[ -n "$next" ] && [ "$next" != "$after" ] || break
	after=$next
done' | sort -u >/root/arrived
comm -23 /root/tokens /root/arrived >/root/lost
[ ! -s /root/lost ] || fail "$(wc -l </root/lost) of $(wc -l </root/tokens) that were accepted never arrived"
echo "accepted during 5 restarts and an upgrade, and arrived: $(wc -l </root/tokens)"

echo '== a configuration with problems behind the socket'
sed -i '1i limits.depth = 0' "$config"
if systemctl restart apnsd; then fail 'it starts with a configuration with problems'; fi
if timeout 60 apnsd apps >/root/apps 2>&1; then fail 'who answers?'; fi
for _ in $(seq 600); do
	if systemctl is-failed --quiet apnsd.socket; then break; fi
	sleep 0.1
done
is 'the socket that cannot start its service' "$(systemctl show --value -p Result apnsd.socket)" trigger-limit-hit
apnsd check-config --config "$config" >/root/problems 2>&1 && fail 'no problems are found'
grep -q 'limits.depth' /root/problems || fail "the problem is not named: $(cat /root/problems)"
sed -i 1d "$config"
systemctl reset-failed apnsd.service apnsd.socket
systemctl start apnsd.socket apnsd.service
is 'the app after that' "$(apnsd apps | awk 'NR == 3 { print $1 }')" shop

echo '== removal, purge'
dpkg -r apnsd
[ -e /var/lib/apnsd/apnsd.db ] || fail 'a removal takes the state'
if pgrep -x -u apnsd apnsd; then fail 'a removal leaves the service running'; fi
is 'the socket after a removal' "$(systemctl is-active apnsd.socket)" inactive
dpkg -P apnsd
[ ! -e /var/lib/apnsd ] || fail 'a purge leaves the state'
echo 'under systemd: passed'
