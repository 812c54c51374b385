"""Write docs/stages.md, the parameters of every stage, from the code: `python -m docs.make_stages`."""

import dataclasses
import inspect
from pathlib import Path

from stages.catalog import STAGES

PATH = Path(__file__).with_name("stages.md")


def text() -> str:
    """The page as Markdown."""
    lines = [
        "# Stages and their parameters",
        "",
        "Made by `python -m docs.make_stages`; a test compares it with the code. *input*: the name of the stage that",
        "is read. *resource*: never changes results and is not part of a recipe.",
    ]
    for kind, stage in STAGES.items():
        lines += [
            "",
            f"## {kind}",
            "",
            inspect.getdoc(stage) or "",
            "",
            "| parameter | default | meaning |",
            "|---|---|---|",
        ]
        for field in dataclasses.fields(stage.Params):
            default = "" if field.default is dataclasses.MISSING else repr(field.default)
            note = "*input* " if "input" in field.metadata else "*resource* " if field.metadata.get("resource") else ""
            lines.append(f"| `{field.name}` | `{default}` | {note}{field.metadata.get('help', '')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
