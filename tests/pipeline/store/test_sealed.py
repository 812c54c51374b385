import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.sealed import seal, unseal, value_of

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)
CONTENTS = st.dictionaries(st.text(), VALUES, max_size=4)


def sealed(body: str) -> bytes:
    """A file whose checksum fits whatever it says."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"sha256":"{digest}","content":{body}}}'.encode()


@given(CONTENTS)
def test_what_is_sealed_comes_back(content):
    """Breaks when some JSON changes on its way through a file: a number, a key, an odd letter."""
    assert unseal(seal(content)) == content


def test_a_sealed_file_is_json_with_the_checksum_of_its_content():
    """Breaks when the format changes, which other programs may read, and older roots have."""
    assert seal({"a": [1, "é"]}) == sealed(r'{"a": [1, "\u00e9"]}')


def test_every_flipped_bit_is_refused():
    """Breaks when a single bit, in the content, the checksum or between them, may change unseen."""
    data = seal({"rows": 12, "labels": {"train": {"cat": 3}}, "note": "é"})
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="its checksum does not fit its content"):
            unseal(bytes(changed))


def test_every_truncation_is_refused():
    """Breaks when a file that was cut off, to nothing too, passes for a shorter one."""
    data = seal({"rows": [1, 2, 3]})
    for length in range(len(data)):
        with pytest.raises(ValueError, match="its checksum does not fit its content"):
            unseal(data[:length])


@given(CONTENTS, st.binary(min_size=1, max_size=40), st.floats(0, 1))
def test_extension_is_refused_wherever_it_is(content, more, place):
    """Breaks when bytes before, after or inside of a file are passed over, another sealed file for one."""
    data = seal(content)
    at = int(place * len(data))
    if data[:at] + more + data[at:] != data:
        with pytest.raises(ValueError):
            unseal(data[:at] + more + data[at:])


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data):
    """Breaks when some bytes raise another error than ValueError, which would end a command with a traceback."""
    with pytest.raises(ValueError):
        unseal(data)


DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param('{"a":' * DEEP + "0" + "}" * DEEP, "nested too deeply", id="deep objects"),
        pytest.param('{"a":' + "[" * DEEP + "]" * DEEP + "}", "nested too deeply", id="deep lists"),
        ('{"a":NaN}', "NaN is no number"),
        ('{"a":-Infinity}', "-Infinity is no number"),
        ('{"a":1e999}', "1e999 is no number"),
        ('{"a":[-1e999]}', "-1e999 is no number"),
        ('{"a":9223372036854775808}', "9223372036854775808 is no number"),
        ('{"a":-9223372036854775809}', "-9223372036854775809 is no number"),
        pytest.param('{"a":' + "9" * 10_000 + "}", "is no number", id="10,000 digits"),
        ("[1]", "an object was expected"),
        ('"text"', "an object was expected"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_content_that_no_run_root_holds_is_refused(body, words):
    """Breaks when a checksum that fits lets in what crashes its readers later: far from the file, without its name."""
    with pytest.raises(ValueError, match=words):
        unseal(sealed(body))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63])
def test_nothing_is_sealed_that_could_not_be_read(value):
    """Breaks when a run writes an object that the next command takes for damaged."""
    with pytest.raises(ValueError):
        seal({"a": value})


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [(None, str, "missing"), (1, str, "no str"), (True, int, "no int"), (1.5, int, "no int"), ("1", float, "no float")],
)
def test_a_value_of_another_type_is_named(value, kind, words):
    """Breaks when true passes for 1, or an error does not say which value is wrong."""
    with pytest.raises(ValueError, match=f"a is {words}"):
        value_of({"a": value}, "a", kind)
    assert value_of({"a": 1}, "a", float) == 1
