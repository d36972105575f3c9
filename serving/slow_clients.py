"""Slow clients: a connection that does not send its request, or does not take its answer, in time is closed."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SEND_SECONDS = 10.0  # from the first byte of a request, or from connecting, to the last byte of its body
TAKE_SECONDS = 10.0  # an answer may wait that long in a full buffer without a byte being taken
TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which of itself waits for ever for both; it only ends connections that idle between requests.

    A request that comes in one piece, as nearly all do, starts no timer.
    """

    _is_sending = True  # a new connection owes a request
    _timer: asyncio.TimerHandle | None = None
    _take_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest where the request is not yet whole."""
        super().data_received(data)
        if not self._is_sending:
            self._cancel()
        elif self._timer is None and not self.transport.is_closing():
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_sending = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._is_sending = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client takes less than is sent."""
        super().pause_writing()
        self._take_timer = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken enough."""
        super().resume_writing()
        self._cancel_take()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._cancel()
        self._cancel_take()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(SEND_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # it is the application that has not yet taken what came
            self._wait()
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(TIMEOUT)
        self.transport.close()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_take(self) -> None:
        if self._take_timer is not None:
            self._take_timer.cancel()
            self._take_timer = None
