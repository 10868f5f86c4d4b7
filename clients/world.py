"""A daemon on a simulated Apple, as processes, for the tests of all clients.

In Python: ``with World() as world: …``. For tests in other languages: ``python3 world.py`` prints what a client needs
as one line of JSON, then takes one command per line (kill, stop, forget, start, start_secure, restart, freeze, thaw,
lose_answers N, connections, arrived, wait_arrived N, daemon_log) and answers each with a line of JSON. It ends
everything at the end of its input.

The daemon is the program that the environment variable APNSD names, else ``target/debug/apnsd`` of this repository.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import xmlrpc.client
from pathlib import Path
from typing import Any, Iterable, Sequence

HERE = Path(__file__).resolve().parent
#: Much longer than anything takes that is waited for, in seconds.
PATIENCE = 30
ANY = "127.0.0.1:0"


def program() -> str:
    """The path of the daemon's program; says what to do when there is none."""
    path = Path(os.environ.get("APNSD") or HERE.parent / "target" / "debug" / "apnsd")
    if not path.is_file():
        raise SystemExit(f"{path} is missing: run `cargo build`, or name the program in APNSD")
    return str(path)


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to clients: it stays free over a restart."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("none of 100 ports is free")


class Process:
    """A process whose output is kept, and which is ready once a word was in it."""

    def __init__(self, command: Sequence[str], word: str, environment: dict[str, str] | None = None) -> None:
        self._lines: list[str] = []
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, args=(word,), daemon=True)
        self._reader.start()
        if not self._ready.wait(PATIENCE) or word not in self.output():
            self.end(signal.SIGKILL)
            raise RuntimeError(f"{command[:2]} did not get ready:\n{self.output()}")

    def _read(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.decode(errors="replace"))
            if word in self._lines[-1]:
                self._ready.set()
        self._ready.set()

    def output(self) -> str:
        """What it printed so far."""
        return "".join(list(self._lines))

    def word_after(self, label: str) -> str:
        """The first word after a label in what it printed."""
        return self.output().split(label, 1)[1].split()[0]

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Sends it a signal and waits for its end."""
        self._process.send_signal(number)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"it did not end by {number.name}:\n{self.output()}") from None
        finally:
            self._reader.join()
            if self._process.stdout is not None:
                self._process.stdout.close()


class UnixConnection(http.client.HTTPConnection):
    """HTTP through a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._path)


class Proxy:
    """A TCP proxy in front of the daemon that counts connections and can lose answers."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self._lock = threading.Lock()
        self._to_lose = 0
        self._connections = 0
        self._open: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many connections clients have made."""
        with self._lock:
            return self._connections

    def lose_answers(self, count: int) -> None:
        """The connections of the next answers are closed when the answer's first byte is there; it goes no further."""
        with self._lock:
            self._to_lose = count

    def close(self) -> None:
        """Closes the listener and all connections."""
        self._listener.close()
        with self._lock:
            for end in self._open:
                _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                daemon = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._connections += 1
                self._open |= {client, daemon}
            for source, sink, is_answer in ((client, daemon, False), (daemon, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, is_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65_536):
                if is_answer and self._loses():
                    break
                sink.sendall(data)
        except OSError:
            pass  # One side is gone: so is the other, below.
        _shut(source)
        _shut(sink)

    def _loses(self) -> bool:
        with self._lock:
            self._to_lose -= 1
            return self._to_lose >= 0


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It was closed before.


class World:
    """A daemon, the simulator that it sends to, and a proxy in front of the daemon. All of it ends with the block."""

    def __init__(self) -> None:
        self._dir = Path(tempfile.mkdtemp(prefix="apnsd-"))
        self._state = self._dir / "state"
        self._port = free_port()
        self._daemon: Process | None = None
        simulator = self._dir / "simulator"
        ports = [flag for name in ("binary", "feedback", "http2", "control") for flag in (f"--{name}", ANY)]
        self._simulator = Process([program(), "simulate", "--dir", str(simulator), *ports], "Start a daemon")
        #: Where the daemon listens; stays the same when it is started again.
        self.url = f"http://127.0.0.1:{self._port}/"
        #: The same over TLS, with a user and a token, after `start_secure`.
        self.secure_url = ""
        #: The certificate that the daemon shows then. Clients trust it by SSL_CERT_FILE.
        self.authority = str(self._dir / "tls.pem")
        #: The unix socket where it listens too.
        self.socket = str(self._dir / "apnsd.sock")
        #: PEM files with certificate and key that the simulator takes. Only their subjects differ.
        self.certificate = str(simulator / "good.pem")
        self.second_certificate = str(simulator / "production.pem")
        #: A PEM file with a certificate of which the daemon knows that it has expired.
        self.expired_certificate = str(simulator / "expired.pem")
        #: A provider token key (key id SIMULATOR1, team SIMTEAM001).
        self.key = str(simulator / "AuthKey_SIMULATOR1.p8")
        #: The simulator's control port.
        self.control = self._simulator.word_after("control port")
        self._configuration = self._simulator.word_after("configuration")
        self.start()
        self.proxy = Proxy(self._port)
        self.proxy_url = self.proxy.url

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything."""
        self.proxy.close()
        for process in (self._daemon, self._simulator):
            if process is not None:
                process.end(signal.SIGKILL)
        shutil.rmtree(self._dir)

    def start(self) -> None:
        """Starts the daemon; it listens when this returns."""
        self._serve(self._configuration, f"127.0.0.1:{self._port}")

    def start_secure(self) -> str:
        """Starts the daemon so that it speaks TLS and serves one user; its URL then, which is `secure_url` too."""
        certificate, key = self.authority, str(self._dir / "tls.key")
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-days", "2"]
        subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        made = subprocess.run([program(), "token", "create", "web"], check=True, capture_output=True, text=True)
        token = made.stderr.split("shown this once: ", 1)[1].split()[0]
        configuration = self._dir / "secure.toml"
        tls = f'\n[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
        configuration.write_text(Path(self._configuration).read_text() + tls + made.stdout)
        self.secure_url = f"https://web:{token}@127.0.0.1:{self._port}/"
        self._serve(str(configuration), f"tls:127.0.0.1:{self._port}")
        return self.secure_url

    @property
    def wrong_url(self) -> str:
        """`secure_url` with a token that nobody has."""
        return re.sub(":apnsd_.*@", ":apnsd_wrong@", self.secure_url)

    def _serve(self, configuration: str, address: str) -> None:
        assert self._daemon is None, "it runs already"
        listen = ["--listen", address, "--listen", f"unix:{self.socket}"]
        command = [program(), "serve", "--config", configuration, *listen]
        self._daemon = Process(command, "daemon: started", {"APNSD__STATE_DIR": str(self._state)})

    def kill(self) -> None:
        """Kills the daemon (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Lets the daemon end (SIGTERM)."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Lets the daemon end and starts it again; it keeps its state."""
        self.stop()
        self.start()

    def forget(self) -> None:
        """Deletes what a daemon that does not run has stored."""
        assert self._daemon is None, "kill it first"
        shutil.rmtree(self._state)

    def freeze(self) -> None:
        """From now on the daemon answers nothing (SIGSTOP)."""
        self._running().signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """A frozen daemon goes on, with the requests that came meanwhile."""
        self._running().signal(signal.SIGCONT)

    def daemon_log(self) -> str:
        """What the present daemon has logged."""
        return self._running().output()

    def call(self, method: str, *params: Any) -> Any:
        """Makes a call of somebody whom no client knows, through the unix socket."""
        connection = UnixConnection(self.socket)
        try:
            connection.request("POST", "/", xmlrpc.client.dumps(params, method, allow_none=True).encode())
            answer = connection.getresponse().read()
        finally:
            connection.close()
        return xmlrpc.client.loads(answer)[0][0]

    def journal(self) -> list[dict[str, Any]]:
        """What the simulator noted; see the help of its control port."""
        entries: list[dict[str, Any]] = []
        after = 0
        while True:
            page = json.loads(self._get(f"journal?after={after}&limit=1000"))
            if not page["entries"]:
                return entries
            entries += page["entries"]
            after = page["next"]

    def arrived(self) -> list[dict[str, Any]]:
        """The notifications that the simulator accepted, in order: token, payload, subject of the certificate."""
        subjects: dict[int, str | None] = {}
        arrived = []
        for entry in self.journal():
            if entry["event"] == "opened":
                subjects[entry["connection"]] = entry.get("subject")
            elif entry["event"] in ("request", "notification") and entry["verdict"] == "accepted":
                subject = subjects.get(entry["connection"])
                arrived.append({"token": entry["token"], "payload": json.loads(entry["payload"]), "subject": subject})
        return arrived

    def wait_arrived(self, count: int) -> list[dict[str, Any]]:
        """Waits until the simulator has accepted so many notifications."""
        deadline = time.monotonic() + PATIENCE
        while len(arrived := self.arrived()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(arrived)} of {count} notifications arrived\n{self.daemon_log()}")
            time.sleep(0.02)  # Nothing tells of arrivals: look again.
        return arrived

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.control + path, timeout=PATIENCE) as answer:
            body: bytes = answer.read()
        return body

    def _running(self) -> Process:
        assert self._daemon is not None, "it does not run"
        return self._daemon

    def _end(self, number: signal.Signals) -> None:
        daemon = self._running()
        self._daemon = None
        daemon.end(number)


def serve(world: World, commands: Iterable[str]) -> None:
    """Answers commands, one per line."""
    certificates = ("certificate", "second_certificate", "expired_certificate", "authority")
    names = ("url", "socket", *certificates, "key", "proxy_url", "control")
    print(json.dumps({name: getattr(world, name) for name in names}), flush=True)
    plain = ("kill", "stop", "forget", "start", "start_secure", "restart", "freeze", "thaw", "arrived", "daemon_log")
    for line in commands:
        command, *arguments = line.split()
        answer: object
        if command in plain and not arguments:
            answer = getattr(world, command)()
        elif command == "connections":
            answer = world.proxy.connections
        elif command == "lose_answers":
            answer = world.proxy.lose_answers(int(arguments[0]))
        elif command == "wait_arrived":
            answer = world.wait_arrived(int(arguments[0]))
        else:
            raise SystemExit(f"unknown command: {line}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with World() as the_world:
        serve(the_world, sys.stdin)
