"""Measure one topic: `python -m benchmarks.run TOPIC`. Exit 0 when it was measured, also when a figure falls short."""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks import figures
from benchmarks.environment import environment

_HERE = Path(__file__).parent


def topics() -> list[str]:
    """The names of all topics."""
    return sorted(path.stem for path in (_HERE / "topics").glob("*.py") if path.stem != "__init__")


def read_bars(topic: str) -> dict[str, figures.Bar]:
    """The bars of a topic: figure -> bar."""
    entries = yaml.safe_load((_HERE / "bars.yaml").read_text(encoding="utf-8"))
    return {name: figures.Bar(**bar) for name, bar in entries[topic]["figures"].items()}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("topic", choices=topics())
    topic = parser.parse_args(arguments).topic
    before = environment()
    with tempfile.TemporaryDirectory(prefix="weakbox-bench-") as folder:
        measured = list(importlib.import_module(f"benchmarks.topics.{topic}").measure(Path(folder)))
    rows = figures.rows(measured, read_bars(topic), f"make bench TOPIC={topic}", before)
    figures.write(topic, rows)
    print(figures.table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
