"""Where the daemon is."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from ._plain import text
from .errors import InvalidArguments

DEFAULT_URL = "http://127.0.0.1:7077/"

_ESCAPE = (
    "the daemon's URL: write http://user:password@host:port/, "
    "in user and password %2F for /, %3F for ?, %23 for #, %40 for @, %3A for :, %5B for [, %5D for ]"
)


@dataclass(frozen=True)
class Address:
    """An address of the daemon. Its text is the URL without user and password."""

    url: str
    #: TCP: where to connect to. Unused for a unix socket.
    host: str
    port: int
    #: The unix socket, if it is one.
    unix: str | None
    tls: bool
    #: The request's target and ``Host`` header.
    target: str
    host_header: str
    #: The ``Authorization`` header, if the URL has a user.
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.url

    @classmethod
    def of(cls, url: str | None) -> Address:
        """From a URL; ``None`` is the environment variable APNSD_URL, or where the daemon listens by default."""
        url = text("the daemon's URL", os.environ.get("APNSD_URL") or DEFAULT_URL if url is None else url)
        if url.startswith("unix:"):
            return cls._of_socket(url)
        try:
            parts = urlsplit(url)
            if "@" in parts.path + parts.query + parts.fragment:
                raise InvalidArguments(_ESCAPE)
            port = parts.port
        except ValueError:
            # Not with its text, which may have a part of the password.
            raise InvalidArguments(_ESCAPE if "@" in url else "the daemon's URL: its host or port is none") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArguments(
                "the daemon's URL: write http://host:port/, https://host/ or unix:/run/apnsd/apnsd.sock"
            )
        tls = parts.scheme == "https"
        place = parts.netloc.rpartition("@")[2]
        target = quote(parts.path or "/", safe="/%:!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else "")
        if not (place + target).isascii() or not (place + target).isprintable() or " " in place + target:
            raise InvalidArguments("the daemon's URL: only ASCII letters, digits and punctuation can stand in it")
        try:
            parts.hostname.encode("idna")  # As the resolver does.
        except UnicodeError:
            raise InvalidArguments("the daemon's URL: its host is no name of a host") from None
        return cls(
            url=f"{parts.scheme}://{place}{target}",
            host=parts.hostname,
            port=port if port is not None else 443 if tls else 80,
            unix=None,
            tls=tls,
            target=target,
            host_header=place,
            authorization=_basic(parts.username, parts.password),
        )

    @classmethod
    def _of_socket(cls, url: str) -> Address:
        path = url[len("unix:") :]
        if path.startswith("//"):
            path = path[2:]
        if not path.startswith("/"):
            raise InvalidArguments(
                "the daemon's URL: a unix socket needs an absolute path, as unix:/run/apnsd/apnsd.sock"
            )
        if not path.isprintable():
            raise InvalidArguments("the daemon's URL: the path of the unix socket has a character that is none")
        return cls(f"unix:{path}", host="", port=0, unix=path, tls=False, target="/", host_header="localhost")


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}"
    try:
        return "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    except UnicodeError:
        raise InvalidArguments("the daemon's URL: user and password have a character that is none") from None
