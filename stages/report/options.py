"""Parameters of stage `report`."""

from dataclasses import dataclass

from pipeline.base.params import option, reads

__all__ = ["ReportParams"]


@dataclass(frozen=True)
class ReportParams:
    """Parameters of `report`: what the page shows."""

    images: str = reads("images", "ingest", "stage that lists the images")
    truth: str = reads("truth", "truth", "their ground truth")
    duplicates: str | None = reads("duplicates", "duplicates", "groups of equal pictures among them; null: not shown")
    metrics: str = reads("metrics", "evaluate", "stage whose metrics and threshold curves are shown")
    quality: str | None = reads("verdicts", None, "stage quality whose verdict is shown on top; null: no verdict")
    maps: tuple[str, ...] = reads("score_maps", (), "stages whose score maps are shown as heat maps")
    labels: tuple[str, ...] = reads("pseudo_labels", (), "stages whose pseudo boxes are shown")
    predictions: tuple[str, ...] = reads("predictions", (), "stages whose predicted boxes are shown")
    samples: int = option(24, "number of images that are chosen by hash", at_least=0)
    title: str | None = option(None, "title of the page; null: the data set")
