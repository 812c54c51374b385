"""What a machine and a config have, and what would break on them: the findings of `weakbox doctor`."""

import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from jobs.target import open_target
from pipeline.base.errors import UsageError, WeakboxError
from pipeline.contract.stage import SourceStage
from pipeline.planning.foresight import rehearse, unrehearsed
from pipeline.store.files import open_filesystem

__all__ = ["Finding", "of_machine", "of_ray", "of_target"]

Level = Literal["good", "look", "bad"]

_SHOWN = ("torch", "torchvision", "ray", "pyarrow", "numpy", "opencv-python-headless", "simplejpeg")
_GB = 2**30
_LEAST_DISK, _LEAST_SHARED, _LEAST_FILES = 2 * _GB, _GB, 4096
_LONGEST = 60
"""The most characters of the folder below which Ray opens sockets, whose paths may have 107."""


class Finding(NamedTuple):
    """One thing that was checked. level: good, look (worth a look), bad (a run would break)."""

    level: Level
    what: str
    said: str


def of_machine() -> Iterator[Finding]:
    """Versions, processors, memory, GPUs, limits and folders of this machine."""
    yield Finding("good", "weakbox", f"{version('weakbox')} on Python {platform.python_version()}, {platform.system()}")
    missing = [name for name in _required() if not _is_installed(name)]
    shown = ", ".join(f"{name} {version(name)}" for name in _SHOWN if _is_installed(name))
    yield Finding("good", "libraries", shown)
    if missing:
        yield Finding("bad", "libraries", f"not installed: {', '.join(missing)}; pip install weakbox brings them")
    if "opencv-python" in packages_distributions().get("cv2", ()):
        said = "opencv-python overwrites files of opencv-python-headless: uninstall both, install the latter again"
        yield Finding("look", "libraries", said)
    yield from _extras()
    yield Finding("good", "processors", f"{len(os.sched_getaffinity(0))}")
    yield from _memory()
    yield from _gpus()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    level: Level = "good" if soft >= _LEAST_FILES else "look"
    yield Finding(
        level, "open files", f"{soft} at once" + ("" if level == "good" else "; Ray may need more: ulimit -n")
    )
    yield from _folder_of_ray()


def of_ray() -> Iterator[Finding]:
    """Whether a Ray of this machine's own starts, as a run needs it; takes some ten seconds."""
    from jobs.ray_session import RaySession

    try:
        RaySession(None, 1).close()
    except WeakboxError as error:
        yield Finding("bad", "Ray", f"{error}; or run with --in-process")
    else:
        yield Finding("good", "Ray", "starts and ends")


def of_target(named: str) -> Iterator[Finding]:
    """What a run of a config would meet: its root, its data, its networks and weights. Nothing is written."""
    target = open_target(named)
    root = target.config.run_root
    began = any(target.store.newest(name) is not None for name in target.stages)
    yield Finding("good", "run root", f"{root}: {'holds results' if began else 'nothing ran there yet'}")
    if "://" not in root:
        yield from _disk("run root", root)
    for name, stage in target.stages.items():
        if isinstance(stage, SourceStage):
            yield _data(name, stage)
    try:
        rehearse(target.stages, unrehearsed(target.stages, target.store))
    except UsageError as error:
        yield Finding("bad", "stages", str(error))
    else:
        yield Finding("good", "stages", f"{len(target.stages)}; networks and weights are there")


def _data(name: str, stage: SourceStage) -> Finding:
    if stage.is_absent():
        return Finding("good", name, f"{stage.root} is not there yet: the run makes it")
    try:
        fs, path = open_filesystem(stage.root)
        there = fs.exists(path)
    except (OSError, ValueError, ImportError) as error:
        return Finding("bad", name, f"{stage.root} cannot be reached: {error}")
    return Finding("good" if there else "bad", name, f"{stage.root} {'is there' if there else 'is not there'}")


def _required() -> Iterator[str]:
    for requirement in requires("weakbox") or ():
        if "extra ==" not in requirement:
            yield _name(requirement)


def _extras() -> Iterator[Finding]:
    wanted: dict[str, list[str]] = {name: [] for name in metadata("weakbox").get_all("Provides-Extra") or ()}
    for requirement in requires("weakbox") or ():
        name, marker, extra = requirement.partition("extra ==")
        if marker and not name.startswith("weakbox"):
            wanted.setdefault(extra.strip(" \"'"), []).append(_name(name))
    lacking = {extra: [name for name in names if not _is_installed(name)] for extra, names in wanted.items()}
    named = [f"[{extra}] ({', '.join(names)})" for extra, names in lacking.items() if names and extra != "dev"]
    if named:
        yield Finding("good", "extras", f"not installed: {', '.join(named)}")


def _name(requirement: str) -> str:
    for place, letter in enumerate(requirement):
        if letter in "[<>=!~; (":
            return requirement[:place]
    return requirement


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _memory() -> Iterator[Finding]:
    said = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    total, free = (int(said[name].split()[0]) * 1024 / _GB for name in ("MemTotal", "MemAvailable"))
    yield Finding("good", "memory", f"{total:.0f} GiB, {free:.0f} free")
    shared = shutil.disk_usage("/dev/shm")
    if shared.total < _LEAST_SHARED:
        said_of = f"{shared.total / _GB:.1f} GiB: Ray keeps objects there; in Docker say --shm-size=2g"
        yield Finding("look", "shared memory", said_of)


def _gpus() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        yield Finding(
            "good", "GPUs", f"{', '.join(names)}; CUDA {torch.version.cuda}; say resources: {{gpus: 1}} to use them"
        )
    elif Path("/proc/driver/nvidia").exists():
        yield Finding("look", "GPUs", f"there is a driver, but torch {torch.__version__} sees no GPU")
    else:
        yield Finding("good", "GPUs", "none: a config with gpus runs on the processors")


def _folder_of_ray() -> Iterator[Finding]:
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    yield from _disk("Ray's folder", folder)
    if len(os.path.abspath(folder)) > _LONGEST:
        yield Finding("bad", "Ray's folder", f"{folder}: too long for sockets; set RAY_TMPDIR to a short path")


def _disk(what: str, place: str) -> Iterator[Finding]:
    path = Path(place).absolute()
    while not path.exists():
        path = path.parent
    if not os.access(path, os.W_OK | os.X_OK):
        yield Finding("bad", what, f"{path} cannot be written to")
        return
    free = shutil.disk_usage(path).free
    yield Finding("good" if free >= _LEAST_DISK else "look", what, f"{path}: {free / _GB:.0f} GiB free")
