"""DDT by tap, sign rule and input size, and CAM by form, size and threshold, on Tiny ImageNet's 24 classes.

`python -m benchmarks.pseudolabel_table RUN_ROOT DATASET_ROOT` goes on in the run root of
jobs/configs/tiny_imagenet_24.yaml with that config's classifier, computes what is missing, and prints two Markdown
tables: GT-known at IoU 0.5 on dev, by which to choose, and on val, which is only reported.
"""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from jobs import output
from jobs.ray_session import RaySession
from jobs.target import Target, open_store
from pipeline.config import parse_config
from pipeline.progress import make_progress
from pipeline.run import Run, RunOptions
from stages import catalog

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
PRECISION = "bfloat16"


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and config entry of every source of maps."""
    for tap, sign, size in itertools.product(TAPS, SIGNS, SIZES):
        yield f"ddt|{tap}|{sign}|{size}", {"stage": "ddt", "sign": sign, "input_size": size, **TAPS[tap]}
    for form, size in itertools.product(FORMS, SIZES):
        yield f"cam|{form}|{size}", {"stage": "cam", "input_size": size, **FORMS[form]}


def stages(classify: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The config's stages, and for each variant the stage of its boxes by threshold."""
    made: dict[str, Any] = {"classify": classify}
    boxes: dict[str, dict[str, str]] = {}
    for number, (name, entry) in enumerate(variants()):
        maps = f"{entry['stage']}_{number}"
        made[maps] = {**entry, "precision": PRECISION}
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
    made["evaluate"] = {"labels": labels, "splits": ["dev", "val"]}
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
    found = {
        (row["source"], row["split"]): row
        for row in output.metric_rows(target, "metrics")
        if row["metric"] == "gt_known" and row["protocol"] == "original"
    }
    rules = {"ddt": ("validated", "sign alone"), "cam": ("validated", *map(str, FIXED))}
    titles = {"ddt": ("tap", "sign rule", "input"), "cam": ("form", "input")}
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


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
