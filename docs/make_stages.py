"""Write docs/stages.md, the parameters of every stage, from the code: `python -m docs.make_stages`."""

import inspect
from pathlib import Path

from pipeline.base.params import describe
from stages import catalog

PATH = Path(__file__).with_name("stages.md")


def text() -> str:
    """The page as Markdown."""
    lines = [
        "# Stages and their parameters",
        "",
        "Made by `python -m docs.make_stages`; a test compares it with the code. *input*: the name of the stage that",
        "is read. *resource*: never changes results and is not part of a recipe.",
    ]
    for kind in catalog.kinds():
        lines += [
            "",
            f"## {kind}",
            "",
            inspect.cleandoc(catalog.description(kind)),
            "",
            "| parameter | default | meaning |",
            "|---|---|---|",
        ]
        for name, default, sort, said in describe(catalog.params_type(kind)):
            note = "" if sort == "numeric" else f"*{sort}* "
            lines.append(f"| `{name}` | `{default}` | {note}{said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
