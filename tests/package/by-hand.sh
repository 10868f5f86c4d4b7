#!/bin/sh
# Inside a fresh Debian without a running systemd: the package is installed, its daemon started by hand, the package
# removed, installed again, and purged.
set -eu

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

is() {
	[ "$2" = "$3" ] || fail "$1 is \`$2\`, not \`$3\`"
}

mode() {
	stat -c '%a %U:%G' "$1"
}

serve() {
	runuser -u apnsd -- env APNSD_CONFIG=/etc/apnsd/apnsd.toml apnsd serve 2>/root/log &
	daemon=$!
	for _ in $(seq 600); do
		if apnsd apps >/root/apps 2>/root/refused; then return; fi
		kill -0 "$daemon" 2>/root/refused || fail "the daemon has ended: $(cat /root/log)"
		sleep 0.1
	done
	fail "the daemon does not answer: $(cat /root/refused)"
}

stop() {
	kill "$(pgrep -u apnsd -x apnsd)"
	wait "$daemon" || fail "the daemon ended with $?: $(cat /root/log)"
}

dpkg -i /root/apnsd.deb
is 'the state directory' "$(mode /var/lib/apnsd)" '700 apnsd:apnsd'
is 'the configuration directory' "$(mode /etc/apnsd)" '750 root:apnsd'
is 'the certificate directory' "$(mode /etc/apnsd/certs)" '750 root:apnsd'
is 'the configuration' "$(mode /etc/apnsd/apnsd.toml)" '640 root:apnsd'
is 'the check of the configuration' "$(apnsd check-config --config /etc/apnsd/apnsd.toml)" 'no problems'
[ -L /etc/systemd/system/multi-user.target.wants/apnsd.service ] || fail 'the service is not enabled'
[ ! -e /etc/systemd/system/sockets.target.wants/apnsd.socket ] || fail 'the socket is enabled'
for page in apnsd apnsd-serve apnsd-token-create; do
	man "$page" | grep -q "^ *$page" || fail "man $page"
done
bash -c '. /usr/share/bash-completion/completions/apnsd && complete -p apnsd' >/dev/null || fail 'no completions for bash'
zsh -c 'autoload -U compinit && compinit -u -d /root/zcompdump && [[ $_comps[apnsd] = _apnsd ]] && autoload +X _apnsd' \
	|| fail 'no completions for zsh'
fish --command 'complete --do-complete "apnsd stat"' | grep -q '^status' || fail 'no completions for fish'
zcat /usr/share/doc/apnsd/changelog.Debian.gz | head -n 1 | grep -q "^apnsd ($(dpkg-query -W -f '${Version}' apnsd))" \
	|| fail 'the changelog is of another version'

apnsd simulate --dir /root/simulator >/root/simulator.log &
simulator=$!
while [ ! -e /root/simulator/apnsd.toml ]; do sleep 0.1; done
serve
apnsd provision shop /root/simulator/good.pem sandbox
stop

# A removal leaves state and configuration, also what an administrator has changed there.
echo '# mine' >>/etc/apnsd/apnsd.toml
chmod 0600 /etc/apnsd/apnsd.toml
chown apnsd /etc/apnsd/apnsd.toml
dpkg -r apnsd
[ -e /var/lib/apnsd/apnsd.db ] || fail 'a removal takes the state'
[ ! -e /usr/bin/apnsd ] || fail 'a removal leaves the program'
dpkg -i /root/apnsd.deb
is 'the configuration afterwards' "$(tail -n 1 /etc/apnsd/apnsd.toml)" '# mine'
is 'its mode afterwards' "$(mode /etc/apnsd/apnsd.toml)" '600 apnsd:apnsd'
serve
is 'the app afterwards' "$(apnsd apps | awk 'NR == 2 { print $1 }')" shop
stop
# An upgrade to the same version.
dpkg -i /root/apnsd.deb
is 'the mode after an upgrade' "$(mode /etc/apnsd/apnsd.toml)" '600 apnsd:apnsd'

dpkg -P apnsd
for left in /var/lib/apnsd /etc/apnsd /usr/share/doc/apnsd /etc/systemd/system/multi-user.target.wants/apnsd.service \
	/etc/systemd/system/apnsd.service /etc/systemd/system/apnsd.socket; do
	[ ! -e "$left" ] && [ ! -L "$left" ] || fail "a purge leaves $left"
done
if getent passwd apnsd || getent group apnsd; then fail 'a purge leaves the user'; fi

# What an administrator has put beside the configuration is not the package's.
dpkg -i /root/apnsd.deb
cp /root/simulator/good.pem /etc/apnsd/certs/
dpkg -P apnsd
[ -e /etc/apnsd/certs/good.pem ] || fail 'a purge takes certificates that are not its own'
getent passwd apnsd >/dev/null || fail 'a purge takes the user, whose files are left'
kill "$simulator"
echo 'by hand: passed'
