"""Messages between processes: a 4-byte big-endian length and JSON. One deadline covers a whole message, either way."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

MAX_FRAME = 64 << 20  # a batch of pictures


def send_frame(channel: socket.socket, message: Any, end: float | None = None) -> None:
    """end: by ``time.monotonic``. Raises TimeoutError past it, OSError where the other side is gone."""
    data = json.dumps(message).encode()
    _arm(channel, end)
    channel.sendall(struct.pack(">I", len(data)) + data)


def receive_frame(channel: socket.socket, end: float | None = None, longest: int = MAX_FRAME) -> Any:
    """Raises TimeoutError past ``end``, EOFError where the other side has closed, ValueError for anything but a frame."""
    (length,) = struct.unpack(">I", _receive(channel, 4, end))
    if length > longest:
        raise ValueError(f"frame of {length} bytes")
    try:
        return json.loads(_receive(channel, length, end))
    except RecursionError as error:
        raise ValueError("a frame that is nested too deeply") from error


def _receive(channel: socket.socket, length: int, end: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        _arm(channel, end)
        part = channel.recv(min(length - len(parts), 1 << 16))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _arm(channel: socket.socket, end: float | None) -> None:
    """Each single wait ends with the deadline of all."""
    if end is None:
        return
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    channel.settimeout(left)
