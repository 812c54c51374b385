"""The mathematics on this machine's GPU, results against the CPU's, and how fast and how busy it is: `make gpu-check`.

Needs Python, torch, torchvision, numpy, pyarrow, safetensors and OpenCV; no Ray, no config, no command. Both devices
run the same stages in this process, on the same made images with the same classifier: forward, cam, ddt, and one step
of PSOL. For the comparison the GPU's convolutions are kept from rounding to TF32; for the rates they are left as they
are.

The tolerances below are ours, not an issue's. Float32 sums in another order differ by about 1e-6 a layer; the stored
maps are float16, half a thousandth of their largest value; a box moves by a pixel where a map just crosses the cut.
Without a GPU the CPU's part runs and every comparison is undecided, with that reason.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import figures
from benchmarks.devices import compare, compute
from benchmarks.environment import environment
from benchmarks.figures import Bar, Measured
from benchmarks.rates import rates
from benchmarks.training_step import Setting, training_rates

TOLERANCES = {
    "logits_difference": Bar(1e-3, "<=", "of the largest logit"),
    "cam_maps_difference": Bar(1e-2, "<=", "of a map's range"),
    "cam_boxes_equal": Bar(95.0, ">=", "% at IoU 0.95"),
    "ddt_component_difference": Bar(1e-4, "<=", "1 - |cos|"),
    "ddt_maps_difference": Bar(1e-2, "<=", "of a map's range"),
    "psol_loss_difference": Bar(1e-3, "<=", "of the loss"),
    "psol_boxes_difference": Bar(1e-2, "<=", "of the image's side"),
}
NO_GPU = "no GPU: the CPU's part ran, there is nothing to compare it with"


def check(folder: Path, *, cuda: bool) -> Iterator[Measured]:
    """All figures; files go below `folder`."""
    reference = compute(folder / "compare", "cpu")
    found = compare(reference, compute(folder / "compare", "cuda")) if cuda else dict.fromkeys(TOLERANCES)
    for name, value in found.items():
        yield Measured(name, value, 1, reason=None if cuda else NO_GPU)
    yield from rates(folder / "rates-cpu", "cpu")
    yield from training_rates(Setting("smallnet", size=64, classes=20))
    if cuda:
        yield from rates(folder / "rates-cuda", "cuda")
        on_gpu = Setting("resnet50", size=224, batch=80, classes=1000, steps=10, device="cuda", precision="bfloat16")
        yield from training_rates(on_gpu)


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
    """Check, print the table, write the file into `results`. Exit 0 when measured, also when a figure falls short."""
    before = machine()
    with tempfile.TemporaryDirectory(prefix="weakbox-gpu-") as folder:
        measured = list(check(Path(folder), cuda=torch.cuda.is_available()))
    rows = figures.rows(measured, TOLERANCES, "make gpu-check", before)
    figures.write("gpu_check", rows, results)
    print(figures.table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
