"""Superpixels and a training for each image of a batch."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from pipeline.base.hashing import seed_from
from stages.bases.aligned_worker import AlignedWorker, Batch, Refined
from stages.sgrm.options import SgrmStageParams
from stages.sgrm.sgrm import predict
from stages.sgrm.superpixels import superpixels

__all__ = ["SgrmWorker"]


class SgrmWorker(AlignedWorker[SgrmStageParams]):
    """Predicts masks from maps; on a CPU one image a thread."""

    kind = "sgrm"

    def refined(self, batch: Batch) -> Refined:
        """Masks or probabilities; an empty mask is replaced by what is above the map's mean, and flagged."""
        maps, workers = batch.turned(batch.maps), max(1, self.context.threads)
        with ThreadPoolExecutor(workers) as pool:
            segment = partial(superpixels, parameters=self.params.superpixel_settings())
            parts = list(pool.map(segment, batch.pixels))
        seeds = [seed_from(self.params.seed, image_id) for image_id in batch.image_ids]
        found = predict(batch.pixels, maps, np.stack(parts), seeds, self.params.settings(), workers=workers)
        flags = ["empty_mask" if empty else None for empty in found.fallback.tolist()]
        return Refined(found.masks if self.params.output == "mask" else found.probabilities, flags)
