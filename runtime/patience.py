"""The server's patience: a request that does not arrive whole in time is told so, and its connection closed.

Otherwise clients that send a byte now and then would hold connections for ever, and memory with them.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Patient(H11Protocol):
    """HTTP/1.1 whose requests have `seconds` to arrive, from a connection's first moment or a later request's first byte."""

    seconds = 15.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came; what is not whole with it is waited for."""
        super().data_received(data)
        if self._whole():
            self._stop_waiting()
        elif self._timer is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the rest of a request that came together with the one that is answered."""
        super().on_response_complete()
        if self._timer is None and not self._whole():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._look)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self.transport.is_closing() or self._whole():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_TOO_SLOW)
        self.transport.close()

    def _whole(self) -> bool:
        """Tell whether nothing is missing: a request has come, or none has begun since the last one was answered."""
        if self.conn.their_state is h11.IDLE:
            return self.cycle is not None and not self.conn.trailing_data[0]
        return self.conn.their_state is not h11.SEND_BODY
