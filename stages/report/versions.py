"""The versions of the libraries that a result may depend on."""

import platform
from importlib import metadata

__all__ = ["library_versions"]

_DISTRIBUTIONS = (
    "weakbox",
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "pyarrow",
    "opencv-python-headless",
    "opencv-python",
    "pillow",
    "simplejpeg",
    "numba",
    "scikit-learn",
    "pycocotools",
    "safetensors",
)


def library_versions() -> tuple[tuple[str, str], ...]:
    """(name, version) of Python and of the installed libraries that results may depend on."""
    found = [("python", platform.python_version())]
    for name in _DISTRIBUTIONS:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)
