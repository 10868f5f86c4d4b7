"""What can be told of a certificate file without the daemon, which looks closer when it is provisioned."""

from __future__ import annotations

import base64
import re
import ssl

_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
#: How DER begins, and so PKCS #12.
_DER = b"\x30"


def problem(content: bytes) -> str | None:
    """What is wrong with the content of a certificate file, in words that follow its name."""
    if b"-----BEGIN " not in content:
        return None if content.startswith(_DER) else _problem_of_base64(content)
    if b"PRIVATE KEY-----" not in content:
        return "has no private key"
    try:
        for certificate in _CERTIFICATE.findall(content):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate.decode("ascii"))
    except (ValueError, ssl.SSLError) as error:
        return f"has a damaged certificate ({error})"
    return None


def _problem_of_base64(content: bytes) -> str | None:
    if not content.strip():
        return "is empty"
    try:
        base64.b64decode(b"".join(content.split()), validate=True)
    except ValueError:
        return "is neither PEM nor PKCS #12"
    return None
