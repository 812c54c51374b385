"""Write the pages of reference from the code: `python -m docs.make_reference`; a test compares them with it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
import pyarrow as pa
from pydantic import BaseModel

import weakbox
from jobs.cli import cli
from pipeline.base.params import describe
from pipeline.config.run_config import PoolConfig, ResourcesConfig, RunConfig
from schemas import TABLES
from stages import catalog

__all__ = ["PAGES", "write"]

_FOLDER = Path(__file__).parent
_SHORT = {
    "collections.abc.": "",
    "typing.": "",
    "str | os.PathLike[str] | Mapping[str, Any]": "Target",
    "'pd.DataFrame'": "pandas.DataFrame",
    "'pa.Table'": "pyarrow.Table",
    "'Figure'": "matplotlib.Figure",
    "os.PathLike[str]": "PathLike",
}
"""Of annotations, for people to read."""
_MADE = "Made by `python -m docs.make_reference`; a test compares it with the code."


def stages() -> Iterator[str]:
    """Every kind of stage, and its parameters."""
    yield "# Stages and their parameters"
    yield ""
    yield f"{_MADE} *input*: the name of the stage that is read. *resource*: never changes results and is not part"
    yield "of a recipe. `weakbox stages KIND` shows the same."
    for kind in catalog.kinds():
        yield from ("", f"## {kind}", "", inspect.cleandoc(catalog.description(kind)), "")
        yield from ("| parameter | default | meaning |", "|---|---|---|")
        for name, default, sort, said in describe(catalog.params_type(kind)):
            note = "" if sort == "numeric" else f"*{sort}* "
            yield f"| `{name}` | `{default}` | {note}{said} |"


def tables() -> Iterator[str]:
    """Every table of a run, and its columns."""
    yield "# Tables and their columns"
    yield ""
    yield f"{_MADE} A stage writes Parquet parts; the columns of a table's key identify a row."
    yield "`weakbox.table` reads one whole, `weakbox.tables` says which stage gives which."
    for spec in TABLES.values():
        key = ", ".join(f"`{name}`" for name in spec.key)
        yield from ("", f"## {spec.name}", "", f"Version {spec.version}. Key: {key or 'none'}.", "")
        yield from ("| column | type | null | meaning |", "|---|---|---|---|")
        for column in spec.columns:
            yield f"| `{column.name}` | {_type(column.type)} | {'yes' if column.nullable else ''} | {column.doc} |"


def configuration() -> Iterator[str]:
    """Every key of a config."""
    yield "# The keys of a config"
    yield ""
    yield f"{_MADE} What `dataset` and each of `stages` may say is in [stages.md](stages.md): a data set's"
    yield "keys are those of its reader, `ingest.folder` for example. `--set a.b=c` changes any key; `${NAME}` is a"
    yield "variable of the environment, `${NAME:-value}` one with a default."
    models: Mapping[str, type[BaseModel]] = {"The top": RunConfig, "resources": ResourcesConfig, "A pool": PoolConfig}
    for title, model in models.items():
        yield from ("", f"## {title}", "", inspect.cleandoc(model.__doc__ or ""), "")
        yield from ("| key | default | meaning |", "|---|---|---|")
        inherited = PoolConfig.model_fields if model is ResourcesConfig else {}
        for name, field in model.model_fields.items():
            if name not in inherited:
                nested = isinstance(field.default, BaseModel)
                default = "required" if field.is_required() else "see below" if nested else f"`{field.default}`"
                yield f"| `{name}` | {default} | {field.description} |"
        if inherited:
            yield from ("", "And the keys of a pool, which hold for all stages that `train` and `stages` do not name.")


def commands() -> Iterator[str]:
    """Every command, and its options."""
    yield "# The commands"
    yield ""
    yield f"{_MADE} `weakbox COMMAND --help` shows the same."
    yield ""
    yield "TARGET is a config file, or the root of a run: a path, or a URI such as s3://bucket/run."
    yield "Exit codes: 0 done, also when there was nothing to do; 1 failed: a stage gave up, or `verify` found damage;"
    yield "2 wrong usage, config or input, one line on stderr; 3 stopped: the same command continues."
    for name, command in sorted(cli.commands.items()):
        parameters = [each for each in command.params if isinstance(each, click.Option) and each.name != "help"]
        arguments = [each.make_metavar(click.Context(command)) for each in command.params if each not in parameters]
        yield from ("", f"## {' '.join(['weakbox', name, *arguments])}", "")
        yield inspect.cleandoc(command.help or "").replace("\b\n", "")
        if parameters:
            yield from ("", "| option | meaning |", "|---|---|")
        for option in parameters:
            spelt, said = option.get_help_record(click.Context(command)) or ("", "")
            yield f"| `{spelt.replace('|', ' ')}` | {said.replace('|', ' ')} |"


def python() -> Iterator[str]:
    """Every function of `import weakbox`."""
    yield "# weakbox from Python"
    yield ""
    yield _MADE
    yield ""
    yield inspect.cleandoc(weakbox.__doc__ or "")
    for name in weakbox.__all__:
        made = getattr(weakbox, name)
        yield from ("", f"## {name}", "")
        if inspect.isfunction(made):
            yield from ("```python", f"{name}{_signature(made)}", "```", "")
        yield inspect.cleandoc(made.__doc__ or "")


PAGES: Mapping[str, Callable[[], Iterator[str]]] = {
    "stages.md": stages,
    "tables.md": tables,
    "configuration.md": configuration,
    "commands.md": commands,
    "python.md": python,
}


def write() -> None:
    """Write all pages."""
    for name, lines in PAGES.items():
        (_FOLDER / name).write_text("\n".join(lines()) + "\n", encoding="utf-8")


def _type(of: pa.DataType) -> str:
    """A type in one cell of a table."""
    if pa.types.is_list(of):
        return f"list of {_type(of.value_type)}"
    if pa.types.is_struct(of):
        return "(" + ", ".join(f"{field.name} {_type(field.type)}" for field in of) + ")"
    return {"float": "float32", "double": "float64", "halffloat": "float16"}.get(str(of), str(of))


def _signature(made: Callable[..., object]) -> str:
    written = str(inspect.signature(made))
    for long, short in _SHORT.items():
        written = written.replace(long, short)
    return written


if __name__ == "__main__":
    write()
