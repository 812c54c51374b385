"""The wheel alone, in a fresh environment and an empty folder: what a newcomer gets."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PACKAGES = ("weakbox", "pipeline", "stages", "jobs", "schemas")
BESIDE = ("README.md", "LICENSE", "pyproject.toml")
PHOTOGRAPHS = {"cat": "chelsea.png", "cup": "coffee.png", "motorcycle": "motorcycle_left.png", "rocket": "rocket.jpg"}
"""Class -> a photograph of scikit-image, in the public domain."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel of the product's files."""
    source = tmp_path_factory.mktemp("source") / "weakbox"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, source)
    out = source.parent / "dist"
    python("-m", "build", "--no-isolation", "--outdir", out, source)
    return out


def python(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], check=True)


def test_the_wheel_has_the_product_and_nothing_else(made: Path) -> None:
    """Breaks when a template, a config or py.typed is not packed, or tests and benchmarks are."""
    python("-m", "twine", "check", "--strict", *made.iterdir())
    (wheel,) = made.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()}
    assert packed == {name for name in files if "__pycache__" not in name}


def test_a_newcomer_gets_from_the_wheel_to_data_sets(made: Path, tmp_path: Path) -> None:
    """Breaks when a command needs the checkout, a library that is not declared, or a file beside the package."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    (wheel,) = made.glob("*.whl")
    commands = tmp_path / "environment" / "bin"
    install = ["install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt", f"{wheel}[label]"]
    subprocess.run([commands / "python", "-m", "pip", *map(str, install)], check=True)
    photographs(tmp_path / "photographs")
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WEAKBOX"))}
    environment["PATH"] = f"{commands}:{environment['PATH']}"
    subprocess.run(
        ["bash", ROOT / "docs" / "from-wheel.sh", tmp_path / "photographs"], cwd=empty, env=environment, check=True
    )
    assert len(json.loads((empty / "metrics.json").read_text())) > 20
    assert (empty / "report.html").stat().st_size > 100_000
    coco = json.loads((empty / "coco" / "coco_test.json").read_text())
    assert len(coco["annotations"]) == len(coco["images"]) == 1000
    assert len(list((empty / "yolo" / "images").rglob("*.*"))) == len(list((empty / "yolo" / "labels").rglob("*.txt")))
    assert list((empty / "voc").rglob("*.xml"))
    assert (empty / "labelled" / "data.yaml").is_file()


def photographs(folder: Path) -> None:
    """Six crops of each photograph, a folder a class."""
    import skimage

    crop = np.random.default_rng(0)
    for name, file in PHOTOGRAPHS.items():
        (folder / name).mkdir(parents=True)
        picture = Image.open(Path(skimage.__file__).parent / "data" / file).convert("RGB")
        for number in range(6):
            width, height = (int(side * crop.uniform(0.8, 1)) for side in picture.size)
            left, top = (int(crop.integers(0, room + 1)) for room in (picture.width - width, picture.height - height))
            picture.crop((left, top, left + width, top + height)).save(folder / name / f"{number}.jpg", quality=90)
