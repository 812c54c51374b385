"""The command `init`: writes a ready config to a file of the user."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from jobs import output
from pipeline.base.errors import UsageError
from pipeline.base.suggestions import nearest

_CONFIGS = Path(__file__).parent / "configs"
_PAPERS = _CONFIGS / "papers"
_MENTIONED = re.compile(r"jobs/configs/(?:papers/)?[\w.-]+\.yaml")


@click.command()
@click.argument("name", required=False)
@click.option("--out", metavar="FILE", help="Where it goes; by default NAME.yaml in this folder.")
def init(name: str | None, out: str | None) -> None:
    """Write a ready config; without NAME, list them. Change dataset.root to your data, then run it.

    An existing file is never overwritten.
    """
    known = dict(_known())
    if name is None:
        output.table(("name", "what it runs"), [(each, _title(path)) for each, path in known.items()])
        return
    if name not in known:
        raise UsageError(f"weakbox init lists the configs; there is no {name!r}{nearest(name, known)}")
    path = Path(out or f"{name}.yaml")
    text = _MENTIONED.sub(str(path), known[name].read_text(encoding="utf-8"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already: give another place by --out, nothing is overwritten") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    output.say(f"{path}: read its first lines, then: weakbox run {path}")


def _known() -> Iterator[tuple[str, Path]]:
    """Name -> file of every config that comes along, those of papers last."""
    for folder in (_CONFIGS, _PAPERS):
        for path in sorted(folder.glob("*.yaml")):
            yield path.stem, path


def _title(path: Path) -> str:
    """The first sentence of the comment on top."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line[2:].strip())
    return " ".join(lines).partition(". ")[0].rstrip(".")
