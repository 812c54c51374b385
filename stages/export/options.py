"""What a config may say of stage `export`."""

from dataclasses import dataclass

from pipeline.base.params import reads
from stages.bases.export_choice import ExportChoice

__all__ = ["ExportParams"]


@dataclass(frozen=True)
class ExportParams(ExportChoice):
    """Parameters of `export`."""

    images: str = reads("images", "ingest", "stage that lists the images")
    labels: str | None = reads("pseudo_labels", None, "stage whose pseudo labels are exported; or set predictions")
    predictions: str | None = reads("predictions", None, "stage whose predictions are exported; or set labels")
