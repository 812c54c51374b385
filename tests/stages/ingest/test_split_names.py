import pytest

from pipeline.base.errors import UsageError
from stages.ingest.split_names import split_of, split_of_folders, split_word, splits_of


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train.tar", "train"), ("data/train-00000-of-00001.parquet", "train"), ("imagenet1k-train-0000.tar", "train"),
        ("Training/0.tar", "train"), ("validation_0.parquet", "val"), ("valid.parquet", "val"), ("dev 1.tar", "val"),
        ("my.val.0.tar", "val"), ("eval/x.parquet", "test"), ("default/test/0.parquet", "test"), ("test2.tar", "test"),
        ("train/test-0.tar", "train"), ("0000.tar", None), ("trainer.tar", None), ("latest.tar", None),
    ],
)  # fmt: skip
def test_the_words_of_datasets_between_marks_are_splits(path, split):
    """Breaks when a shard's split is not told, or a word that only holds `test` is one."""
    assert split_of(path) == split


def test_some_names_that_say_no_split_beside_others_are_refused():
    """Breaks when an extra table beside train and test is trained on without a word."""
    assert splits_of(["a.tar", "b.tar"]) == {"a.tar": "train", "b.tar": "train"}
    with pytest.raises(UsageError, match="^dataset: b.tar: its name says no split, as that of test.tar does$"):
        splits_of(["test.tar", "b.tar"])


def test_folders_of_images_are_splits_by_the_whole_name():
    """Breaks when a class called `test tube` or `train_wagon` becomes a split."""
    folders = ("Train/test tube", "a/validation", "test tube", "train_wagon/x", "")
    assert [split_of_folders(folder) for folder in folders] == ["train", "val", None, None, None]


def test_words_of_tables():
    """Breaks when a misspelt split becomes training."""
    assert [split_word(word, "x") for word in ("train", " Validation ", "TEST", "dev")] == [
        "train",
        "val",
        "test",
        "val",
    ]
    with pytest.raises(UsageError, match="^dataset: t, line 2: 'trian' is no split"):
        split_word("trian", "dataset: t, line 2")
