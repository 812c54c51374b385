"""What a config may say of stage `plain_cam`."""

from dataclasses import dataclass, fields

from pipeline.base.params import option
from stages.bases.localizer import FineTuningParams
from stages.plain_cam.parameters import TECHNIQUES, Guides, Sureness, TechniqueName

__all__ = ["PlainCamParams", "mistake"]

_FRACTIONS = ("has_rate", "acol_threshold", "adl_rate", "adl_threshold", "cutmix_probability")
_POSITIVE = ("has_grid", "cutmix_beta")
_WITH_TAPS = ("spg", "adl")


@dataclass(frozen=True)
class PlainCamParams(FineTuningParams):
    """Parameters of `plain_cam`."""

    technique: TechniqueName = option(
        "none",
        "none, has (Hide-and-Seek), acol, spg, adl or cutmix; an option that begins with a technique's name is only"
        " for it",
    )
    has_grid: float = option(44.0, "side of a patch at inputs of 224 pixels, scaled with the input")
    has_rate: float = option(0.5, "probability of a patch being hidden", at_least=0)
    acol_threshold: float = option(
        0.6, "delta: where the first branch's min-maxed map exceeds it, features are erased for the second", at_least=0
    )
    spg_high: tuple[float, ...] = option(
        (0.7, 0.5, 0.7), "object is above it: in the class map (for B2), B2's map (for B1), the mean of both (for C)"
    )
    spg_low: tuple[float, ...] = option((0.01, 0.05, 0.1), "background is below it, in the same three maps")
    adl_rate: float = option(0.75, "probability of the drop mask in place of the importance map", at_least=0)
    adl_threshold: float | None = option(
        None, "attention above this fraction of its maximum is dropped; null: 0.9 for ResNets and Inceptions, else 0.8"
    )
    cutmix_beta: float = option(1.0, "lambda is drawn from Beta(beta, beta)")
    cutmix_probability: float = option(1.0, "probability of a batch being mixed", at_least=0)
    taps: tuple[str, ...] | None = option(
        None,
        "spg: the deeper and the shallower layer with guidance; adl: the layers with dropout; null: for spg the"
        " second (of two the first) and the last of the backbone's taps, for adl the first and the last",
    )
    epochs: int = option(50, "passes over the training images", at_least=1)
    batch_size: int = option(32, "images in one step, all workers together", at_least=1)
    bias_rate: float = option(1.0, "factor on the learning rate of biases")
    weight_decay: float = option(1e-4, "weight decay")
    drops: tuple[float, ...] = option(
        (0.3, 0.6, 0.9), "steps: fractions of the training after which the rate falls to a tenth"
    )

    def guides(self) -> Guides:
        """The thresholds of SPG's guides. Raises: ValueError for a low threshold above its high one."""
        attention, deep, fused = (Sureness(*pair) for pair in zip(self.spg_high, self.spg_low, strict=True))
        return Guides(attention, deep, fused)


def mistake(params: PlainCamParams) -> str | None:
    """The first thing wrong with the technique's parameters, in words; None if nothing is."""
    for field in fields(params):
        value, owner = getattr(params, field.name), field.name.partition("_")[0]
        if owner in TECHNIQUES and owner != params.technique and value != field.default:
            return f"{field.name} is an option of technique {owner}, not of {params.technique}"
        if field.name in _FRACTIONS and value is not None and not 0 <= value <= 1:
            return f"{field.name} must lie in [0, 1], not {value:g}"
        if field.name in _POSITIVE and value <= 0:
            return f"{field.name} must be above 0, not {value:g}"
    if params.technique == "cutmix" and params.batch_size % 2:
        return f"batch_size must be even for cutmix, which mixes pairs of images, not {params.batch_size}"
    if len(params.spg_high) != 3 or len(params.spg_low) != 3:
        return "spg_high and spg_low must have three values each"
    if params.taps is not None and params.technique not in _WITH_TAPS:
        return f"taps are for {' and '.join(_WITH_TAPS)}, not for technique {params.technique}"
    if params.taps is not None and (len(params.taps) != 2 if params.technique == "spg" else not params.taps):
        return f"taps must be {'two' if params.technique == 'spg' else 'one at least'}, not {len(params.taps)}"
    if params.taps is not None and len(set(params.taps)) < len(params.taps):
        return f"taps must differ, not {', '.join(params.taps)}"
    try:
        params.guides()
    except ValueError as error:
        return str(error)
    return None
