"""An S3 server on loopback (moto) whose next requests can be made to fail."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

SLOW_SECONDS = 8.0
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class FlakyS3:
    """An S3 server with faults on demand.

    Kinds: `s3_refused` (503 SlowDown), `s3_reset` (connection cut before anything is done), `s3_lost_answer` (done, but
    the connection is cut before the answer), `s3_slow` (answers after some seconds).
    """

    KINDS = ("s3_refused", "s3_reset", "s3_lost_answer", "s3_slow")

    def __init__(self) -> None:
        self._app: Wsgi = DomainDispatcherApplication(create_backend_app)
        self._armed: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def arm(self, kind: str, requests: int) -> None:
        """Make this many of the next requests fail in this way."""
        with self._lock:
            self._armed[kind] += requests

    @property
    def armed(self) -> int:
        """How many requests are still to fail."""
        with self._lock:
            return sum(self._armed.values())

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        kind = self._next()
        if kind == "s3_refused":
            headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(_SLOW_DOWN)))]
            start_response("503 Slow Down", headers)
            return [_SLOW_DOWN]
        if kind == "s3_reset":
            return _cut(environ)
        if kind == "s3_slow":
            time.sleep(SLOW_SECONDS)
        if kind == "s3_lost_answer":
            list(self._app(environ, lambda *arguments: None))
            return _cut(environ)
        return self._app(environ, start_response)

    def _next(self) -> str | None:
        with self._lock:
            for kind in self.KINDS:
                if self._armed[kind]:
                    self._armed[kind] -= 1
                    return kind
        return None


def _cut(environ: dict[str, Any]) -> Iterable[bytes]:
    """End the connection without an answer."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("cut on purpose")
