"""The configs that reproduce the papers, and the numbers that are printed beside them."""

from pathlib import Path
from typing import Any

import pytest

from jobs.reported import reported_of
from pipeline.base.errors import UsageError
from pipeline.config.run_config import load_config
from pipeline.planning.foresight import rehearse
from pipeline.planning.graph import topological
from stages import catalog

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "jobs" / "configs" / "papers"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
NAMES = {
    "psol_ilsvrc",
    "psol_cub",
    "i2c_ilsvrc",
    "spa_ilsvrc",
    "spa_cub",
    "minmax_cub",
    "minmax_openimages",
    "lcar_cub",
    "lcar_ilsvrc",
}
VARIANTS = [
    pytest.param(path, sets, id=f"{path.stem}-{number}")
    for path in CONFIGS
    for number, sets in enumerate(sorted({printed.sets for printed in reported_of(str(path))}))
]
OF_CLASSES, OF_MAPS = {"cls_top1", "cls_top5"}, {"max_box_acc", "max_box_acc_v2", "pxap"}
OF_BOXES = {"top1_loc", "top5_loc", "gt_known", "gt_delta", "err_multi", "err_part", "err_more"}


def test_every_config_of_the_papers_is_there():
    """Breaks when a paper's config goes, or one comes without its printed numbers."""
    assert {path.stem for path in CONFIGS} == NAMES
    assert {path.stem for path in (FOLDER / "reported").glob("*.yaml")} == NAMES


@pytest.mark.parametrize(("path", "sets"), VARIANTS)
def test_every_row_can_be_planned_and_reports_its_numbers(path, sets):
    """Breaks when a `--set` line names what is gone, or evaluate leaves out a row's number."""
    stages = load_config(str(path), sets).stage_objects(catalog)
    for stage in stages.values():
        stage.check()
    assert topological(stages)
    evaluated: list[Any] = [stage.params for stage in stages.values() if stage.kind == "evaluate"]
    for printed in reported_of(str(path)):
        if printed.sets != sets:
            continue
        assert printed.metric in OF_CLASSES | OF_MAPS | OF_BOXES
        reports = [params for params in evaluated if printed.source in _scored(stages, params, printed.metric)]
        assert len(reports) == 1, f"{printed.source}: {printed.metric}"
        assert printed.split in reports[0].splits
        if printed.metric in OF_BOXES:
            assert printed.protocol in reports[0].protocols


def _scored(stages, params, metric):
    if metric in OF_CLASSES:
        return (params.classes,)
    if metric in OF_MAPS:
        return [stages[counts].params.maps for counts in params.counts]
    needs_classes = metric.startswith(("top", "err"))
    return (*params.labels, *params.predictions) if params.classes or not needs_classes else ()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_networks_and_weights_fit(path):
    """Breaks when a config names weights of another network, or when what would train is refused beforehand."""
    stages = load_config(str(path)).stage_objects(catalog)
    rehearse(stages, stages)


@pytest.mark.long
@pytest.mark.parametrize(("path", "sets"), VARIANTS)
def test_networks_and_weights_of_every_row_fit(path, sets):
    """Breaks when a `--set` line names weights of another network, or layers that it does not have."""
    stages = load_config(str(path), sets).stage_objects(catalog)
    rehearse(stages, [name for name, stage in stages.items() if stage.kind != "model"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_head_says_what_a_reader_needs(path):
    """Breaks when a config does not say which tables, which data and weights, what it costs, and the command."""
    lines = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
    head = " ".join(" ".join(lines).split())
    command = f"Command: weakbox run {path.relative_to(ROOT)}"
    for said in ("table", "Paper: ", "Data: ", "Weights: ", "Cost: ", command):
        assert said in head, said
    assert "We have not run it" in head, "a config that was run says so in docs/papers.md, and here in other words"


def test_a_config_of_no_paper_is_one_clear_line():
    """Breaks when `reproduce` of any other config ends in a traceback."""
    with pytest.raises(UsageError, match=r"demo\.yaml: no paper's numbers are known"):
        reported_of(str(ROOT / "jobs" / "configs" / "demo.yaml"))
