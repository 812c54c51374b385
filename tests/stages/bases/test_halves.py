from stages.bases.halves import HALVES, half_of
from stages.ingest.scan import is_dev


def test_halves_are_even_in_every_split():
    """Breaks when the halves hang on the hash that cuts dev out of train: dev would be one half."""
    ids = [f"train/cat/{number}.jpg" for number in range(20_000)]
    for of_split in (ids, [image_id for image_id in ids if is_dev(image_id, 0.1)]):
        share = sum(half_of(image_id) for image_id in of_split) / len(of_split)
        assert abs(share - 0.5) < 0.05
    assert {half_of(image_id) for image_id in ids} == set(HALVES)


def test_a_half_is_for_good():
    """Breaks when the hash changes: committed thresholds would be applied to the images they were chosen on."""
    assert [half_of(f"test/dog/{number}.jpg") for number in range(12)] == PINNED


PINNED = [0, 0, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1]
