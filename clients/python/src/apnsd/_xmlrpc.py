"""The one place that writes calls and reads answers."""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from ._address import Address
from ._http import Response, request
from ._plain import plain
from .errors import ApnsdError, ConnectionFailed, InvalidArguments, NotConfigured, ServerTimeout, error_of_fault

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_MAX = 300
_DEPTH_MAX = 64
_REFUSALS_OF_USERS = (401, 403)
# The daemon, or a proxy in front of it, has too much to do.
_REFUSALS_FOR_NOW = (429, 503)
# Whoever answers these takes no call at all, or perhaps the next one.
_NO_REFUSALS = (404, 405, 408)


def encode_call(address: Address, method: str, params: Sequence[Any]) -> bytes:
    """The request of a call. Raises InvalidArguments for what XML-RPC cannot carry."""
    try:
        values = tuple(plain(f"argument {index}", value) for index, value in enumerate(params))
        text = xmlrpc.client.dumps(values, method, allow_none=True)
    except (TypeError, OverflowError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"{method}: {error}") from error
    if wrong := _NOT_IN_XML.search(text):
        raise InvalidArguments(f"{method}: the character U+{ord(wrong[0]):04X} cannot be sent")
    # A parser would make a line feed of a plain carriage return.
    return request(address, text.replace("\r", "&#13;").encode())


def decode_answer(address: Address, response: Response) -> Any:
    """The value of an answer, its times in UTC. Raises the error of a fault, or of what is no answer of XML-RPC."""
    if response.status != 200:
        raise _http_error(address, response)
    try:
        # It may have a document type in UTF-16 too.
        if b"<!DOCTYPE" in response.body or b"\0" in response.body:
            raise ValueError("it has a document type, or is no text")
        (value,), _ = xmlrpc.client.loads(response.body, use_builtin_types=True)
        return _aware(value)
    except xmlrpc.client.Fault as fault:
        if not isinstance(fault.faultCode, int) or not isinstance(fault.faultString, str):
            raise not_apnsd(address, fault) from fault
        raise error_of_fault(fault.faultCode, fault.faultString) from None
    except Exception as error:  # The library raises whatever it stumbles over.
        raise not_apnsd(address, error) from error


def _http_error(address: Address, response: Response) -> ApnsdError:
    words = " ".join(response.body[:_TEXT_MAX].decode("utf-8", "replace").split())
    answered = f"{response.status} {response.phrase}".strip()
    text = f"{address} answered {answered}{': ' + words if words else ''}"
    if response.status in _REFUSALS_OF_USERS:
        return NotConfigured(text)
    if response.status in _REFUSALS_FOR_NOW:
        return ServerTimeout(text)
    if 400 <= response.status < 500 and response.status not in _NO_REFUSALS:
        return InvalidArguments(text)
    is_apnsds = response.status == 408 or response.status >= 500
    return ConnectionFailed(text if is_apnsds else f"{text}; {IS_IT_APNSD}")


#: The end of what is said of something that is no daemon.
IS_IT_APNSD = "is this the URL of apnsd?"


def not_apnsd(address: object, error: Exception) -> ConnectionFailed:
    """The error for an answer that the daemon would not give."""
    problem = str(error) or type(error).__name__
    return ConnectionFailed(f"what answers at {address} is not apnsd ({problem}): {IS_IT_APNSD}")


def _aware(value: Any, depth: int = 0) -> Any:
    if depth > _DEPTH_MAX:
        raise ValueError("it is too deep")
    if isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc)
    if isinstance(value, list):
        return [_aware(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {name: _aware(item, depth + 1) for name, item in value.items()}
    return value
