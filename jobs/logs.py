"""Structured logs on stderr: readable lines on a terminal, key=value or JSON lines in a job log."""

import logging
import sys
from collections.abc import Callable

import structlog

from pipeline.base.credentials import redacted
from pipeline.base.printable import printable

LEVELS = ("debug", "info", "warning", "error")
FORMS: dict[str, Callable[[], structlog.typing.Processor]] = {
    "console": structlog.dev.ConsoleRenderer,
    "logfmt": lambda: structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
    "json": structlog.processors.JSONRenderer,
}


def configure(level: str = "info", form: str = "auto") -> None:
    """Set up structlog for this process. form: auto, console, logfmt or json."""
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "logfmt"
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _fit_to_show,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if form == "console" else "iso", utc=False),
            FORMS[form](),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    ours = logging.getLogger("weakbox")  # stages log through it: bare machines have no structlog
    ours.handlers = [_Forward()]
    ours.setLevel(level.upper())


class _Forward(logging.Handler):
    """Forwards the log records of stages to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage())


def _fit_to_show(_: object, __: str, said: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A log event without the credentials of URIs, and with control characters as escapes."""
    return {key: printable(redacted(value)) if isinstance(value, str) else value for key, value in said.items()}
