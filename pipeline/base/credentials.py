"""Credentials inside of texts: `scheme://user:password@host`, and signed queries such as `?X-Amz-Signature=...`."""

import re

_PASSWORD = re.compile(r"://[^\s/?#@:]*:(?!\d+/)[^\s@?#]*@")
"""User and password before a host. The password may hold a slash, but not after digits alone: that is a port."""
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:signature|credential|token|secret|password|api_?key|accesskey)[\w.-]*|sig|key|auth)=)[^&;\s#]+",
    re.IGNORECASE,
)


def has_credentials(text: str) -> bool:
    """Whether a text holds a URI with a password, or with a secret in its query."""
    return "://" in text and (_PASSWORD.search(text) or _QUERY.search(text)) is not None


def redacted(text: str) -> str:
    """A text with every credential of a URI replaced by ***."""
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1***", _PASSWORD.sub("://***@", text))
