"""What a config may say of stage `i2c`."""

from dataclasses import dataclass

from pipeline.base.params import option
from stages.bases.localizer import FineTuningParams
from stages.i2c.parameters import Distance, SeedRule

__all__ = ["I2cParams"]


@dataclass(frozen=True)
class I2cParams(FineTuningParams):
    """Parameters of `i2c`."""

    classes: int = option(40, "classes in one step, all workers together; fewer where the data have fewer", at_least=1)
    set_size: int = option(2, "images of each class in a step: an even number, as they form pairs", at_least=2)
    seeds: int = option(3, "K: object seeds of an image", at_least=1)
    region_threshold: float = option(0.7, "delta: seeds come from where the min-maxed map exceeds it", at_least=0)
    seed_rule: SeedRule = option("random", "random (paper) or raster: the first K positions row by row (released code)")
    distance: Distance = option(
        "euclidean", "euclidean (released code; the weights are meant for it) or squared (paper)"
    )
    stochastic_weight: float = option(0.008, "lambda1, of the stochastic consistency", at_least=0)
    global_weight: float = option(0.001, "lambda2, of the global consistency", at_least=0)
    centre_decay: float = option(
        0.002, "alpha: after t updates a class's centre moves at the rate exp(-alpha t)", at_least=0
    )
    skip_unseen: bool = option(
        True, "leave a class out of the loss until the first update of its centre; false: use its random initial centre"
    )
    dropout: float = option(0.0, "dropout before the head's convolutions and the classifier; the paper's network: 0.5")
    warm_up: int = option(0, "number of first epochs with cross-entropy alone, on the same batches", at_least=0)
    epochs: int = option(5, "passes over the training images, warm-up included", at_least=1)
    drops: tuple[float, ...] = option(
        (0.4, 0.6, 0.8), "steps: fractions of the training after which the rate falls to a tenth"
    )
    keep_aspect: bool = option(True, "crop squares; false: crops of the image's aspect ratio, squashed")
