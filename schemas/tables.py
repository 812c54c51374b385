"""Every table of a run. Boxes are absolute pixels of the original image, x0 y0 x1 y1, half-open, float32."""

import pyarrow as pa

from schemas.table import Column, TableSpec
from schemas.types import (
    BOXES,
    MAP,
    MASKS,
    SCORED_BOXES,
    WHOLE_MAP,
    bad_boxes,
    empty_text,
    negative,
    not_positive,
    unknown_split,
)

_S, _I, _F, _D, _L = pa.string(), pa.int32(), pa.float32(), pa.float64(), pa.int64()

_IMAGE_ID = Column("image_id", _S, "stable, unique name of the image, taken from the data", check=empty_text)
_LABEL = Column("label", _I, "class index, position of label_name in the sorted class names", check=negative)
_SPLIT = Column("split", _S, "train, dev, val or test", check=unknown_split)
_METHOD = Column("method", _S, "what made the row: cam, ddt, psol, ...", check=empty_text)
_SOURCE = Column("source", _S, "name of the stage in the run config that made the row", check=empty_text)
_IMAGE_SIZE = (
    Column("image_height", _I, "height of the original image, pixels", check=not_positive),
    Column("image_width", _I, "width of the original image, pixels", check=not_positive),
)
_PROVENANCE = (
    Column("backbone", _S, "name of the network", nullable=True),
    Column("tap", _S, "layer whose output was used", nullable=True),
    Column("input_size", _I, "side of the square network input, pixels", nullable=True),
    Column("weights_hash", _S, "sha256 of the network's weights", nullable=True),
    Column("seed", _L, "seed of the network's training", nullable=True),
)

IMAGES = TableSpec(
    "images",
    3,
    ("image_id",),
    (
        _IMAGE_ID,
        Column("uri", _S, "where the bytes are: dataset://<stage>/<path below its root>, or a URI", check=empty_text),
        Column("offset", _L, "first byte inside an archive; null for a file of its own", nullable=True),
        Column("length", _L, "bytes inside an archive; null for a file of its own", nullable=True),
        Column("row", _L, "row inside a Parquet file, whose uri ends with #<column>; null elsewhere", nullable=True),
        Column("width", _I, "pixels, of the image as it is used", check=not_positive),
        Column("height", _I, "pixels, of the image as it is used", check=not_positive),
        Column("orientation", _I, "EXIF orientation of the file, 1 to 8; 1 or null: as it is stored", nullable=True),
        Column("turned", pa.bool_(), "whether it is used turned by its orientation; null: no", nullable=True),
        Column(
            "lenient", pa.bool_(), "whether its file is damaged, decoded as far as possible; null: no", nullable=True
        ),
        _LABEL,
        Column("label_name", _S, "class name as the data has it"),
        _SPLIT,
        Column("content_hash", _S, "sha256 of the image's bytes"),
    ),
)

_URIS, _HASHES = pa.list_(_S), pa.list_(_S)

TRUTH = TableSpec(
    "truth",
    2,
    ("image_id",),
    (
        _IMAGE_ID,
        Column("boxes", BOXES, "ground-truth boxes; null where the image has none", True, check=bad_boxes),
        Column("clipped", _I, "how many of them stuck out of the image and were cut to it; null: none", nullable=True),
        Column("mask_uris", _URIS, "ground-truth masks, gray, foreground above 128; several of one image add up"),
        Column("mask_hashes", _HASHES, "sha256 of the bytes of each mask"),
        Column("ignore_uris", _URIS, "masks of regions that are not scored"),
        Column("ignore_hashes", _HASHES, "sha256 of the bytes of each such mask"),
    ),
)

PERCEPTUAL_HASHES = TableSpec(
    "perceptual_hashes",
    1,
    ("image_id",),
    (
        _IMAGE_ID,
        Column(
            "perceptual_hash", _S, "64 bits in hexadecimal digits, pHash of ImageHash; null: too plain a picture", True
        ),
    ),
)

DUPLICATES = TableSpec(
    "duplicates",
    1,
    ("kind", "image_id"),
    (
        Column("kind", _S, "exact: same bytes; near: alike by their perceptual hashes, not all of the same bytes"),
        Column("group", _S, "first image id of the pictures that are equal or alike", check=empty_text),
        _IMAGE_ID,
        Column("split", _S, "split in the data set: train, dev, val or test", check=unknown_split),
        Column("label_name", _S, "class name as the data has it"),
        Column("content_hash", _S, "sha256 of the image's bytes"),
        Column("used_as", _S, "split in which later stages see the image; null: they do not", nullable=True),
    ),
)

SCORE_MAPS = TableSpec(
    "score_maps",
    1,
    ("image_id", "label", "method"),
    (
        _IMAGE_ID,
        _LABEL,
        _SPLIT,
        _METHOD,
        Column("height", _I, "rows of the map", check=not_positive),
        Column("width", _I, "columns of the map", check=not_positive),
        *_IMAGE_SIZE,
        Column(
            "map",
            MAP,
            "height x width values, row by row, covering the whole image; on the method's own scale. float32 if made by"
            " an `import`",
            also=WHOLE_MAP,
        ),
        Column("flag", _S, "why the map is a fallback, e.g. degenerate_class; null for an ordinary map", nullable=True),
        *_PROVENANCE,
    ),
)

PSEUDO_LABELS = TableSpec(
    "pseudo_labels",
    4,
    ("image_id", "label", "method"),
    (
        _IMAGE_ID,
        _LABEL,
        _SPLIT,
        _METHOD,
        _SOURCE,
        *_IMAGE_SIZE,
        Column("boxes", SCORED_BOXES, "pseudo boxes, best first; score is the mean map value inside", check=bad_boxes),
        Column("masks", MASKS, "one COCO RLE mask for each box, at the size of the image; null: boxes alone", True),
        Column(
            "area_fraction", _F, "foreground pixels / pixels of the image; null without masks", True, check=negative
        ),
        Column("contrast", _F, "mean of the min-maxed map, foreground minus background; null if one is empty", True),
        Column(
            "components", _I, "number of 8-connected foreground components; for an `import`, of boxes", check=negative
        ),
        Column("flag", _S, "empty_mask, degenerate_class, ... where the box is a fallback; null otherwise", True),
        Column("threshold", _D, "foreground is map > threshold; null: not made from a map of this run", True),
        Column(
            "threshold_choice",
            _S,
            "validated (chosen on other images), oracle (chosen on this image's split), fixed, or null",
            True,
        ),
        Column("component_rule", _S, "largest, all or union; null: not made from a map of this run", True),
        Column("chosen", _S, "for a `consensus`: the stage whose box this is; null: several, or another kind", True),
        Column("quality", _F, "for a `consensus`: probability that the best box is right; null: not known", True),
        *_PROVENANCE,
    ),
)

PREDICTIONS = TableSpec(
    "predictions",
    1,
    ("image_id", "method"),
    (
        _IMAGE_ID,
        _LABEL,
        _SPLIT,
        _METHOD,
        _SOURCE,
        *_IMAGE_SIZE,
        Column("boxes", SCORED_BOXES, "predicted boxes, best first; null for a pure classifier", True, check=bad_boxes),
        Column("classes", pa.list_(_I), "top-k class indices, best first; null where none are predicted", True),
        Column("class_scores", pa.list_(_F), "softmax scores of `classes`", True),
        *_PROVENANCE,
    ),
)

_SIGNAL_DOCS = {
    "agreement": "mean IoU of the best box with those of the other sources; null: no other source has one",
    "agreement_least": "smallest of these IoU",
    "mask_agreement": "mean IoU of the union of the masks with those of the other sources",
    "agreement_rank": "fraction of the class's other images whose agreement is smaller; ties count half",
    "score": "score of the box in table pseudo_labels",
    "score_rank": "the same fraction by score",
    "contrast": "mean of the min-maxed map, foreground minus background",
    "contrast_rank": "the same fraction by contrast",
    "border": "fraction of the image's four sides that the box touches",
    "area": "area of the box / area of the image",
    "area_rank": "the same fraction by area",
    "aspect": "natural logarithm of width / height of the box; null: one of them is 0",
    "fill": "foreground pixels of the mask / area of the box",
    "components": "number of foreground components",
    "confidence": "probability that the classifier gives to the label; 0 if it is not among the predicted classes",
}

QUALITIES = TableSpec(
    "qualities",
    1,
    ("image_id", "label", "source"),
    (
        _IMAGE_ID,
        _LABEL,
        _SPLIT,
        _METHOD,
        Column("source", _S, "name of the stage whose box is judged", check=empty_text),
        *(Column(name, _F, doc, nullable=True) for name, doc in _SIGNAL_DOCS.items()),
        Column("flag", _S, "why the box is a fallback or carries no information; null for an ordinary box", True),
        Column(
            "quality",
            _F,
            "probability that the box is right (IoU at least 0.5), by a model fitted to true boxes of this data set;"
            " for images used in the fit, by a model fitted without them; null: too few true boxes",
            True,
        ),
    ),
)

QUALITY_FITS = TableSpec(
    "quality_fits",
    1,
    ("source",),
    (
        Column("source", _S, "name of the stage whose boxes are judged", check=empty_text),
        _METHOD,
        Column("split", _S, "split whose ground-truth boxes the model is fitted to", check=unknown_split),
        Column("images", _L, "images of that split with a true box and one of the source", check=negative),
        Column("right", _D, "percent of these images whose box is right; null without images", True),
        Column(
            "auc",
            _D,
            "area under the ROC curve of the quality, right against wrong boxes, by cross-validation; null: no model"
            " was fitted",
            True,
        ),
        Column("auc_error", _D, "standard error of auc", True),
        Column("better", _D, "percent of right boxes in the half with the higher quality", True),
        Column("worse", _D, "percent of right boxes in the other half", True),
        Column("given", pa.bool_(), "whether qualities are given: false where they are no better than chance"),
    ),
)

VERDICTS = TableSpec(
    "verdicts",
    1,
    ("check", "source"),
    (
        Column(
            "check", _S, "what was looked at: classifier, whole_images, same_boxes, agreement, ...", check=empty_text
        ),
        Column("source", _S, "stage whose boxes were looked at; null: the data", nullable=True),
        Column("level", _S, "good, look (worth a look) or bad (the labels carry no information)"),
        Column("value", _D, "percent"),
        Column("n", _L, "images or classes counted", check=negative),
        Column("said", _S, "the verdict in words"),
    ),
)

COMPONENTS = TableSpec(
    "components",
    2,
    ("label", "tap"),
    (
        _LABEL,
        Column("tap", _S, "layer whose descriptors these are"),
        Column("label_name", _S, "class name"),
        Column("mean", pa.list_(_D), "mean descriptor of the class's training images, (d,)"),
        Column("component", pa.list_(_D), "first principal component, unit length, sign chosen, (d,)"),
        Column("eigenvalues", pa.list_(_D), "two largest eigenvalues of the covariance"),
        Column(
            "eigenvalue_ratio", _D, "first / second eigenvalue; near 1 the component is unstable; null: second 0", True
        ),
        Column("residual", _D, "|Cv - lambda v| / lambda"),
        Column("sign_rule", _S, "rule that chose the sign"),
        Column("sign_margin", _D, "how clearly the rule chose, on its own scale; 0 is a tie"),
        Column("sign_disagreement", pa.bool_(), "whether the other rules choose the other sign"),
        Column("positive_fraction", _D, "fraction of training positions with a positive projection"),
        Column("n_images", _L, "training images", check=negative),
        Column("n_descriptors", _L, "training descriptors", check=negative),
        Column("flag", _S, "degenerate_class, few_images, ...; null for an ordinary class", nullable=True),
    ),
)

THRESHOLDS = TableSpec(
    "thresholds",
    3,
    ("method", "source", "iou", "half"),
    (
        _METHOD,
        _SOURCE,
        Column("iou", _D, "IoU at which a box counted as correct"),
        Column("split", _S, "split that the threshold was chosen on; null (version 2): dev", True),
        Column(
            "half",
            _I,
            "half of that split, by hash of the image id, that the threshold is for, chosen on the other half; null:"
            " chosen on the whole split, for all other images",
            True,
        ),
        Column("threshold", _D, "threshold of the min-maxed map that is best on the images it was chosen on"),
        Column("value", _D, "GT-known accuracy on these images, percent; with components all, any box counts"),
        Column("n", _L, "number of these images, which have a ground-truth box", check=not_positive),
        Column(
            "components", _S, "box rule that was counted: largest, all or union of the 8-connected components", True
        ),
        Column("min_area", _D, "box rule: components below this fraction of the image were ignored", True),
        Column("enlargement", _S, "box rule: interpolation of maps to the image size, bilinear or bicubic", True),
    ),
)

METRICS = TableSpec(
    "metrics",
    2,
    (),
    (
        Column("run", _S, "name of the run"),
        Column("dataset", _S, "reader and root of the data set"),
        _SPLIT,
        _METHOD,
        Column("source", _S, "stage that made the predictions", nullable=True),
        Column("seed", _L, "seed of the training behind it", nullable=True),
        Column("metric", _S, "cls_top1, gt_known, top1_loc, max_box_acc, ..."),
        Column("iou", _D, "IoU level; null where none applies", nullable=True),
        Column("protocol", _S, "original, wsolevaluation, psol or first_box", nullable=True),
        Column("threshold", _D, "threshold behind the boxes", nullable=True),
        Column("threshold_choice", _S, "oracle, validated, fixed or null", nullable=True),
        Column("value", _D, "percent; null where undefined", nullable=True),
        Column("n", _L, "images counted", check=negative),
        Column("ci_low", _D, "lower end of the 95 % bootstrap interval", nullable=True),
        Column("ci_high", _D, "upper end", nullable=True),
        Column(
            "supervision",
            _S,
            "boxes: made from or trained on boxes that a person drew; null: weak, true boxes at most chose a threshold",
            nullable=True,
        ),
    ),
)

CURVES = TableSpec(
    "curves",
    1,
    (),
    (
        _SPLIT,
        _METHOD,
        _SOURCE,
        Column("iou", _D, "IoU level"),
        Column("protocol", _S, "protocol of the accuracy"),
        Column("threshold", _D, "fraction of the maximum of the min-maxed map"),
        Column("value", _D, "accuracy at that threshold, percent"),
    ),
)

_SCORED = (
    Column("metric", _S, "gt_known, top1_loc, ..."),
    Column("iou", _D, "IoU level; null where none applies", nullable=True),
    Column("protocol", _S, "original, wsolevaluation, psol or first_box", nullable=True),
)

COUNTS = TableSpec(
    "counts",
    2,
    (),
    (
        _SPLIT,
        Column("half", _I, "0 or 1: of the images in that half of the split, by hash of the id; null: of both", True),
        _METHOD,
        Column("source", _S, "name of the stage whose score maps were counted", check=empty_text),
        Column("seed", _L, "seed of the network's training", nullable=True),
        Column("rule", _S, "what was counted: fixed, largest, all, pxap_positive, peak_shared, ...", check=empty_text),
        Column("iou", _D, "IoU level; 0 where none applies"),
        Column("images", _L, "images counted", check=negative),
        Column("counts", pa.list_(_L), "integers by threshold, cut or bin; those of disjoint images add up"),
    ),
)

GROUPS = TableSpec(
    "groups",
    1,
    (),
    (
        _SPLIT,
        _METHOD,
        Column("source", _S, "stage that made the predictions", nullable=True),
        *_SCORED,
        Column("by", _S, "what the images are grouped by: class or size (share of the image that the object has)"),
        Column("group", _S, "name of the class, or range of sizes"),
        Column("value", _D, "percent"),
        Column("n", _L, "images of the group", check=not_positive),
        Column("ci_low", _D, "lower end of the 95 % bootstrap interval"),
        Column("ci_high", _D, "upper end"),
    ),
)

COMPARISONS = TableSpec(
    "comparisons",
    2,
    ("split", "metric", "iou", "protocol", "first", "second"),
    (
        _SPLIT,
        *_SCORED,
        Column("first", _S, "stage that made the one method's boxes"),
        Column("second", _S, "stage that made the other method's boxes, or the best trivial predictor"),
        Column("difference", _D, "value of the first minus that of the second, on the same images, points"),
        Column("n", _L, "images", check=not_positive),
        Column("ci_low", _D, "lower end of the 95 % paired bootstrap interval"),
        Column("ci_high", _D, "upper end"),
        Column("p_value", _D, "two-sided, of the paired bootstrap; at least 1 / resamples"),
    ),
)

QUARANTINE = TableSpec(
    "quarantine",
    1,
    ("image_id",),
    (
        _IMAGE_ID,
        Column("uri", _S, "where the bytes are"),
        Column("stage", _S, "stage that refused the image"),
        Column("reason", _S, "what is wrong with its content"),
        Column("content_hash", _S, "sha256 of the bytes as far as they could be read; null if not", nullable=True),
    ),
)

TRAINING = TableSpec(
    "training",
    1,
    ("epoch",),
    (
        Column("epoch", _I, "epochs done", check=not_positive),
        Column("loss", _D, "mean training loss of the epoch"),
        Column("images", _L, "images seen in the epoch", check=negative),
        Column("learning_rate", _D, "of the first parameter group at the end of the epoch"),
    ),
)

TABLES: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        IMAGES,
        TRUTH,
        PERCEPTUAL_HASHES,
        DUPLICATES,
        SCORE_MAPS,
        PSEUDO_LABELS,
        PREDICTIONS,
        QUALITIES,
        QUALITY_FITS,
        VERDICTS,
        COMPONENTS,
        THRESHOLDS,
        METRICS,
        CURVES,
        COUNTS,
        GROUPS,
        COMPARISONS,
        QUARANTINE,
        TRAINING,
    )
}
