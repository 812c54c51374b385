import json
import os
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import UsageError
from pipeline.config import plain_data
from pipeline.config.run_config import load_config, parse_config
from pipeline.config.yaml_text import BYTES, read_file, read_value, scalar

GOOD = "run_root: runs/x\ndataset: {reader: folder, root: data}\n"


def refused(tmp_path, content):
    """The one line that a config file of this content is refused with."""
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    started = time.process_time()
    with pytest.raises(UsageError) as caught:
        load_config(str(path))
    assert time.process_time() - started < 2
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run_root: a\nrun_root: b\n", "line 2: the key 'run_root' stands here and in line 1"),
        ("stages:\n  cam: {input_size: 1}\n  cam: {}\n", "line 3: the key 'cam' stands here and in line 2"),
        ("stages: {cam: {a: 1, 'a': 2}}\n", "line 1: the key 'a'"),
        ("stages:\n- [{b: 1, b: 1}]\n", "line 2: the key 'b'"),
        ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "line 2: the key '<<'"),
        ("stages:\n  yes: {}\n", "line 2: the key yes is true or false to YAML: quote it, 'yes'"),
        ("stages:\n  on: {}\n", "line 2: the key on is true or false"),
        ("stages: {001: {}}\n", "line 1: the key 001 is a number to YAML: quote it, '001'"),
        ("stages: {1.5: {}}\n", "line 1: the key 1.5 is a number"),
        ("stages: {1e3: {}}\n", "line 1: the key 1e3 is a number"),
        ("stages: {~: {}}\n", "line 1: the key ~ is nothing"),
        ("stages: {? [a] : {}}\n", "line 1: a key must be a text"),
        ("seed: 010\n", "line 1: 010 is octal"),
        ("seed: 1:30\n", "line 1: 1:30 is octal or sexagesimal"),
        ("a: !!int x\n", "line 1: 'x' is no int"),
        ("a: !!set {b}\n", "line 1: a config has no !!set"),
        ("a: !!binary aGk=\n", "line 1: a config has no !!binary"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1: a config has no !!python/object/apply:os.getcwd"),
        ("a: &a [*a]\n", "line 1: an alias refers to a value that contains it"),
        ("a: &a {<<: *a}\n", "line 1: an alias refers to a value that contains it"),
        ("a: {<<: 7}\n", "line 1: << takes a mapping"),
        ("a: *b\n", "line 1: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("a: [1\nb: 2\n", "no YAML: line 2"),
        ("a: \x07\n", "no YAML"),
        (f"a: {'9' * 5000}\n", "line 1: Exceeds the limit"),
        ("a: !!int\n", "line 1: '' is no int"),
    ],
)
def test_what_yaml_takes_and_a_config_does_not(tmp_path, text, words):
    """Breaks when a value is lost or bent in silence: a key twice, a name that YAML reads as another type."""
    assert words in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.replace("data", "da\N{LATIN SMALL LETTER E WITH ACUTE}").encode("latin-1"), "line 2: no text in UTF-8"),
        (GOOD.encode("utf-16"), "UTF-16 or binary"),
        (GOOD.encode("utf-16-le"), "UTF-16 or binary"),
        (GOOD.encode("utf-16-be"), "UTF-16 or binary"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UTF-16 or binary"),
        (b"\xff\xd8\xff\xe0 JFIF", "line 1: no text in UTF-8"),
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"# only a comment\n", "a mapping with run_root"),
        (b"#" * (BYTES + 1), "larger than 256 KiB"),
    ],
)
def test_what_is_no_text_in_utf_8(tmp_path, content, words):
    """Breaks when another encoding or kind of file gives Python's own error, without a name or what to do."""
    assert words in refused(tmp_path, content)


def test_utf_8_with_a_byte_order_mark_is_fine(tmp_path):
    """Breaks when an editor of Windows makes a config unreadable."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_config(str(path)).dataset["reader"] == "folder"


def test_what_is_no_file_is_not_read(tmp_path):
    """Breaks when a pipe without a writer or an endless device hangs the command."""
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "pipe.yaml", "/dev/zero", "/dev/null"):
        with pytest.raises(UsageError, match="a text file was expected") as caught:
            load_config(str(path))
        assert str(path) in str(caught.value)


def bomb(levels, width=9, form="[{}]"):
    """A document whose every level names the one before `width` times."""
    lines = ["l0: &l0 [x]"]
    for level in range(1, levels + 1):
        names = ", ".join([f"*l{level - 1}"] * width)
        lines.append(f"l{level}: &l{level} {form.format(names)}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        bomb(9),
        bomb(30, 2),
        bomb(9, form="{{<<: [{}]}}").replace("[x]", "{x: 1}", 1) + bomb(9),
        f"a: {'[' * 5000}",
        f"a: {'[' * 200}{']' * 200}\n",
        "".join(f"{' ' * i}a:\n" for i in range(200)),
        f"a: {'{a: ' * 300}{'}' * 300}\n",
        "- x\n" * (plain_data.VALUES + 1),
        f"a: &a x\nb: [{'*a, ' * 2000}]\n",
        "? " * 5000,
        f"a: {'!!str ' * 3}{'&x ' * 3}",
    ],
)
def test_bombs_are_refused_at_once(tmp_path, text):
    """Breaks when a small file takes minutes, gigabytes, or Python's stack."""
    assert refused(tmp_path, GOOD + text)


def test_depth_and_values_are_limited_in_data_that_is_no_yaml():
    """Breaks when the config.json of a run root, or a --set, is walked without limits."""
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(5000):
        inner["a"] = inner = {}
    with pytest.raises(UsageError, match="levels"):
        parse_config({"run_root": "x", "dataset": deep})
    with pytest.raises(UsageError, match="levels"):
        parse_config({"run_root": "x", "dataset": {}}, [f"{'a.' * 5000}a=1"])


def test_aliases_and_merge_keys_say_what_they_mean(tmp_path):
    """Breaks when the limits also refuse the common use, or an own key no longer wins over a merged one."""
    path = tmp_path / "c.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\nc: {<<: [*a, {x: 5, z: 6}]}\nd: [*a, *a]\n")
    both = {"x": 1, "y": 2}
    assert read_file(str(path)) == {"a": both, "b": {"x": 1, "y": 3}, "c": {**both, "z": 6}, "d": [both, both]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("1e-3", 1e-3),
            ("1E3", 1000.0),
            ("-2e+5", -2e5),
            ("1_0e2", 1000.0),
            (".5", 0.5),
            ("1.", 1.0),
            ("-.5e1", -5.0),
        ),
        *(("12", 12), ("-3", -3), ("0", 0), ("0x1f", 31), ("1_000", 1000), ("true", True), ("off", False), ("~", None)),
        *(
            ("2024-01-01", "2024-01-01"),
            ("e3", "e3"),
            ("1e", "1e"),
            ("1.2.3", "1.2.3"),
            ("'1e3'", "1e3"),
            ("a-b", "a-b"),
        ),
        *((".", "."), ("-a", "-a"), ("x: [1, 2.5e0]", {"x": [1, 2.5]})),
    ],
)
def test_values_as_everyone_means_them(text, value):
    """Breaks when 1e-3 is a text again, a date becomes an object that JSON cannot say, or a text becomes a number."""
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


def test_a_scalar_of_a_variable():
    """Breaks when the value of a variable is no number where it looks like one, or YAML is made of any text."""
    assert [scalar(text) for text in ("3", "1e-2", "true", "[1", "[1]", "a: 1", "x", "010")] == [
        *(3, 0.01, True, "[1", "[1]", "a: 1", "x", "010"),
    ]


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e999", "9223372036854775808"])
@pytest.mark.parametrize(
    "key", ["stages.classify.learning_rate", "stages.classify.seed", "resources.grace", "dataset.x"]
)
def test_what_is_no_number(key, value):
    """Breaks when NaN or an infinity gets past a limit that no comparison with it violates."""
    with pytest.raises(UsageError, match=f"{key}: .*number"):
        parse_config({"run_root": "x", "dataset": {"reader": "folder"}}, [f"{key}={value}"])


words = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_json_is_read_as_what_it_says(value):
    """Breaks when the stricter reader refuses or changes plain data: JSON is YAML."""
    found = read_value(json.dumps(value, ensure_ascii=False))
    assert found == value
    assert type(found) is type(value)


def config_or_line(path):
    """Reading a config ends within two seconds: with a config, or one line."""
    started = time.process_time()
    try:
        load_config(str(path))
    except UsageError as error:
        assert "\n" not in str(error)
    assert time.process_time() - started < 2


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_config_or_one_line(tmp_path_factory, content):
    """Breaks when some bytes give a traceback, or do not end."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    config_or_line(path)


TOKENS = st.sampled_from(
    [
        *("run_root: x", "dataset:", "stages:", "resources:", "reader: folder", "cam: {}", "a: 1", "- b", "? c", ": d"),
        *("[", "]", "{", "}", ",", "&a ", "*a", "<<: *a", "!!int ", "!x ", "|", ">", "'", '"', "#", "---", "...", "%"),
        *(
            "\n",
            "\n",
            "\n  ",
            "\n    ",
            "\t",
            " ",
            "${HOME}",
            "${A:-1}",
            "~",
            "yes",
            "001",
            ".nan",
            "1e3",
            "\x00",
            "\u2028",
        ),
    ]
)


@settings(max_examples=300)
@given(st.lists(TOKENS, max_size=40))
def test_any_pieces_of_yaml_are_a_config_or_one_line(tmp_path_factory, pieces):
    """Breaks when some document gives a traceback, or does not end."""
    path = tmp_path_factory.getbasetemp() / "pieces.yaml"
    path.write_text("".join(pieces), encoding="utf-8")
    config_or_line(path)
