"""DDT by tap, sign rule and input size, and CAM by form, size and threshold, on Tiny ImageNet's 24 classes.

`python -m benchmarks.pseudolabel_table RUN_ROOT DATASET_ROOT` goes on in the run root of
jobs/configs/tiny_imagenet_24.yaml with that config's classifier, computes what is missing, and prints Markdown: two
tables with GT-known at IoU 0.5 on dev, by which to choose, and on val, which is only reported; and how many boxes in
bfloat16 agree with those in float32.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jobs.ray_session import RaySession
from jobs.results import metric_rows
from jobs.target import Target, open_store
from pipeline.config.run_config import parse_config
from pipeline.running.progress import make_progress
from pipeline.running.run import Run, RunOptions
from stages import catalog
from stages.vision.boxes import iou

CONFIG = Path(__file__).parents[1] / "jobs" / "configs" / "tiny_imagenet_24.yaml"
SIZES = (64, 128)
TAPS: dict[str, dict[str, Any]] = {
    "layer3": {"tap": "layer3"},
    "layer2": {"tap": "layer2"},
    "layer3+layer2": {"tap": "layer3", "second_tap": "layer2"},
}
SIGNS = ("energy", "max_abs_coef", "max_abs_proj")
FORMS: dict[str, dict[str, Any]] = {
    "classic": {},
    "simplified": {"form": "simplified"},
    "positive weights": {"negative_weights": False},
}
FIXED = (0.2, 0.5)
PRECISIONS = ("bfloat16", "float32")
AGREEMENT = 0.95


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and config entry of every source of maps; all in bfloat16, and the first of both methods in float32 too."""
    precision = PRECISIONS[0]
    for tap, sign, size in itertools.product(TAPS, SIGNS, SIZES):
        entry = {"stage": "ddt", "sign": sign, "input_size": size, **TAPS[tap]}
        yield f"ddt|{tap}|{sign}|{size}|{precision}", {**entry, "precision": precision}
    for form, size in itertools.product(FORMS, SIZES):
        entry = {"stage": "cam", "input_size": size, **FORMS[form]}
        yield f"cam|{form}|{size}|{precision}", {**entry, "precision": precision}
    for name, stage in ((f"ddt|layer3|energy|{SIZES[0]}", "ddt"), (f"cam|classic|{SIZES[0]}", "cam")):
        yield f"{name}|float32", {"stage": stage, "input_size": SIZES[0], "precision": "float32"}


def stages(classify: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The config's stages, and for each variant the stage of its boxes by threshold."""
    made: dict[str, Any] = {"classify": classify}
    boxes: dict[str, dict[str, str]] = {}
    for number, (name, entry) in enumerate(variants()):
        maps = f"{entry['stage']}_{number}"
        made[maps] = entry
        made[f"sweep_{number}"] = {"stage": "sweep", "maps": maps}
        made[f"calibrate_{number}"] = {"stage": "calibrate", "counts": f"sweep_{number}"}
        rules: dict[str, dict[str, Any]] = {"validated": {"thresholds": f"calibrate_{number}"}}
        if entry["stage"] == "ddt":
            rules["sign alone"] = {"threshold": 0.0, "kind": "absolute", "frame": "grid"}
        else:
            rules |= {f"{threshold}": {"threshold": threshold} for threshold in FIXED}
        boxes[name] = {rule: f"boxes_{number}_{rule.replace(' ', '_').replace('.', '')}" for rule in rules}
        for rule, parameters in rules.items():
            made[boxes[name][rule]] = {"stage": "boxes", "maps": maps, **parameters}
    labels = [stage for of_variant in boxes.values() for stage in of_variant.values()]
    made["evaluate"] = {"labels": labels, "splits": ["dev", "val"], "oracle": True}
    return made, boxes


def main(run_root: str, dataset_root: str) -> None:
    """Run what is missing and print the tables."""
    base = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    made, boxes = stages(base["stages"]["classify"])
    config = parse_config(
        {
            "run_root": run_root,
            "dataset": {"reader": "tiny_imagenet", "root": dataset_root},
            "stages": made,
            "resources": base["resources"],
        }
    )
    target = Target(config, config.stage_objects(catalog), open_store(run_root))
    wanted = config.resources

    def session() -> RaySession:
        return RaySession(None, wanted.num_cpus, wanted.placement)

    Run(target.stages, target.store, session, wanted.resources(), make_progress(), RunOptions()).execute()
    _print_tables(target, boxes)
    _print_agreement(target, boxes)


def _print_tables(target: Target, boxes: dict[str, dict[str, str]]) -> None:
    found = {
        (row["source"], row["split"]): row
        for row in metric_rows(target)
        if row["metric"] == "gt_known" and row["protocol"] == "original"
    }
    rules = {"ddt": ("validated", "sign alone"), "cam": ("validated", *map(str, FIXED))}
    titles = {"ddt": ("tap", "sign rule", "input", "precision"), "cam": ("form", "input", "precision")}
    for method, columns in rules.items():
        heads = [*titles[method], *(f"{rule}, {split}" for rule in columns for split in ("dev", "val")), "threshold"]
        print("|", " | ".join(heads), "|")
        print("|" + "---|" * len(heads))
        for name, of_rule in boxes.items():
            kind, *parts = name.split("|")
            if kind != method:
                continue
            cells = [f"{found[of_rule[rule], split]['value']:.1f}" for rule in columns for split in ("dev", "val")]
            chosen = f"{found[of_rule['validated'], 'val']['threshold']:.2f}"
            print("|", " | ".join([*parts, *cells, chosen]), "|")
        print()


def _print_agreement(target: Target, boxes: dict[str, dict[str, str]]) -> None:
    """Per cent of images whose boxes, under the same fixed threshold, overlap by at least 0.95."""
    for name, of_rule in boxes.items():
        if not name.endswith("|float32"):
            continue
        for rule in set(of_rule) - {"validated"}:
            one, other = (_boxes(target, boxes[name.replace("float32", kind)][rule]) for kind in PRECISIONS)
            agree = np.mean([iou(one[image], other[image])[0, 0] >= AGREEMENT for image in other])
            print(f"{name}, {rule}: {100 * agree:.2f} % of {len(other)} boxes agree with bfloat16's")


def _boxes(target: Target, stage: str) -> dict[str, list[float]]:
    complete = target.store.newest_set(stage)
    assert complete is not None, f"{stage} is complete"
    tables = (target.store.table(done, "pseudo_labels", ["image_id", "boxes"]) for done in complete.dones.values())
    rows = (row for table in tables for row in table.to_pylist())
    return {row["image_id"]: [row["boxes"][0][side] for side in ("x0", "y0", "x1", "y1")] for row in rows}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
