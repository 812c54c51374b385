"""What docker/Dockerfile says, as data."""

import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docker"


def instructions() -> list[tuple[str, str]]:
    """Its instructions in order: (name, arguments), continued lines joined, comments left out."""
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name.upper(), arguments) for name, arguments in parts]


def arguments(name: str) -> list[str]:
    """The arguments of all instructions of one name."""
    return [text for found, text in instructions() if found == name]


def environment() -> dict[str, str]:
    """What all its ENV set."""
    return dict(word.split("=", 1) for text in arguments("ENV") for word in shlex.split(text))


def copied() -> list[str]:
    """Paths below the repository's root that its COPY read."""
    return [path for text in arguments("COPY") for path in text.split()[:-1]]


def pinned(name: str) -> str:
    """The version of a distribution in constraints.txt."""
    match = re.search(rf"^{re.escape(name)}==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert match, f"constraints.txt does not pin {name}"
    return match[1]
