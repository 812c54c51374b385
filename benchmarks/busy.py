"""How long a GPU was busy, from a profile of its kernels."""

from torch.profiler import profile


def busy_seconds(kernels: profile) -> float:
    """Time that at least one kernel or copy took, in seconds."""
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in kernels.events() or ()
        if event.device_type.name == "CUDA"
    )
    busy, reached = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return busy / 1e6
