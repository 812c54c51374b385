"""How weights are named in a config."""

__all__ = ["SAFETENSORS", "SCRATCH", "TIMM", "is_file"]

SCRATCH = "scratch"
TIMM = "timm:"
SAFETENSORS = ".safetensors"
_SUFFIXES = (SAFETENSORS, ".pth", ".pt", ".pth.tar", ".bin")


def is_file(source: str) -> bool:
    """Whether a source of weights is a file (a path or a URI) rather than a published name."""
    return not source.startswith(TIMM) and source.endswith(_SUFFIXES)
