"""The mathematics on this machine's GPU, results against the CPU's, and how fast and how busy it is: `make gpu-check`.

Needs Python, torch, torchvision, numpy, scipy, pyarrow, safetensors, OpenCV, numba, scikit-learn and scikit-image; no
Ray, no config, no command. In this order, each figure printed and written once it is known: (a) both devices run the
same stages in this process, on the same made images with the same classifier; (b) how fast stages are beside forward
passes alone; (c) trainings beside the plain classifier's; (d) refinements by the batch beside one image at a time. For
the comparison (a) the GPU's convolutions are kept from rounding to TF32; for the rates they may round.

The tolerances of (a) are ours. Float32 sums in another order differ by about 1e-6 a layer; the stored maps are float16,
half a thousandth of their largest value; a box moves by a pixel where a map just crosses the cut, a mask where rounding
changes a training. Without a GPU the CPU's part runs and every comparison is undecided, with that reason.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import figures
from benchmarks.devices import MAPS, TRAINED, compare, compute
from benchmarks.environment import environment
from benchmarks.figures import Bar, Measured
from benchmarks.on_card import on_card
from benchmarks.rates import rates
from benchmarks.training_step import Setting, training_rates

_MAP, _LOSS, _BOXES = Bar(1e-2, "<=", "of a map's range"), Bar(1e-3, "<=", "of the loss"), "% at IoU 0.95"
TOLERANCES = {
    "logits_difference": Bar(1e-3, "<=", "of the largest logit"),
    **{f"{method}_maps_difference": _MAP for method in MAPS},
    "cam_boxes_equal": Bar(95.0, ">=", _BOXES),
    "cam_bfloat16_boxes_equal": Bar(90.0, ">=", _BOXES),
    "ddt_component_difference": Bar(1e-4, "<=", "1 - |cos|"),
    "sgrm_masks_equal": Bar(90.0, ">=", _BOXES),
    **{f"{kind}_loss_difference": _LOSS for kind in TRAINED},
    "psol_boxes_difference": Bar(1e-2, "<=", "of the image's side"),
}
RATES = {
    "cuda_ddt_vgg16_gap_bfloat16_shared_to_forward": Bar(0.90, ">=", "ratio"),
    "cuda_cam_mobilenet_v2_bfloat16_shared_to_forward": Bar(0.70, ">=", "ratio"),
    "cuda_train_i2c_step_to_plain": Bar(1.15, "<=", "ratio"),
    "cuda_train_spa_step_to_plain": Bar(1.15, "<=", "ratio"),
    "cuda_train_minmax_step_to_plain": Bar(2.2, "<=", "ratio"),
    "cuda_sgrm_to_one_image_flow": Bar(10.0, ">=", "ratio"),
    "cuda_sgrm_mask_iou": Bar(0.95, ">=", "IoU"),
    "cuda_scg_to_one_image_flow": Bar(5.0, ">=", "ratio"),
    "cuda_ncut_to_one_image_flow": Bar(3.0, ">=", "ratio"),
}
_TOPIC = "gpu_check"
NO_GPU = "no GPU: the CPU's part ran, there is nothing to compare it with"


def check(folder: Path, *, cuda: bool) -> Iterator[Measured]:
    """All figures; files go below `folder`."""
    reference = compute(folder / "compare", "cpu")
    found = compare(reference, compute(folder / "compare", "cuda")) if cuda else dict.fromkeys(TOLERANCES)
    for name, value in found.items():
        yield Measured(name, value, 1, reason=None if cuda else NO_GPU)
    yield from rates(folder / "rates", "cuda" if cuda else "cpu")
    if not cuda:
        yield from (Measured(name, None, 1, reason=NO_GPU) for name in RATES)
        yield from training_rates(Setting("smallnet", size=64, classes=20))
        return
    on_gpu = Setting("resnet50", size=224, batch=80, classes=1000, steps=10, device="cuda", precision="bfloat16")
    yield from training_rates(on_gpu)
    yield from on_card("cuda")


def machine() -> dict[str, Any]:
    """The environment, with card, driver and CUDA where there are any."""
    cuda = torch.cuda.is_available()
    return {
        **environment(),
        "card": torch.cuda.get_device_name(0) if cuda else None,
        "driver": _driver() if cuda else None,
        "cuda": torch.version.cuda,
    }


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def main(results: Path = figures.RESULTS) -> int:
    """Check; each figure is printed and written into `results` once it is known. Exit 0 also when one falls short.

    Without a GPU, earlier results of a card are kept.
    """
    before = machine()
    kept = before["card"] is None and _is_of_a_card(results)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="weakbox-gpu-") as folder:
        started = time.perf_counter()
        for measured in check(Path(folder), cuda=torch.cuda.is_available()):
            rows += figures.rows([measured], {**TOLERANCES, **RATES}, "make gpu-check", before)
            if not kept:
                figures.write(_TOPIC, rows, results)
            said = (measured.figure, measured.value, measured.reason or "")
            print(f"{time.perf_counter() - started:6.1f} s", *said, flush=True)
    print(figures.table(rows))
    if kept:
        print(f"no GPU here: {_TOPIC}.json stays as a card measured it")
    return 0


def _is_of_a_card(results: Path) -> bool:
    """Whether the results that are there were measured on a GPU."""
    path = results / f"{_TOPIC}.json"
    return path.exists() and any(row["environment"]["card"] for row in json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
