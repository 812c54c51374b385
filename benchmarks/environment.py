"""What a number was measured on: versions, processor, load. Never a host's name or a path."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("torch", "torchvision", "ray", "numpy", "pyarrow", "opencv-python-headless", "simplejpeg", "pillow")


def environment() -> dict[str, Any]:
    """Versions (None where a package is absent), processor model, usable processors and the load of the last minute."""
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "processor": _processor(),
        "processors": processors(),
        "load": round(os.getloadavg()[0], 2),
    }


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
