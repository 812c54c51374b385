import bz2
import gzip
import io
import lzma
import random
import subprocess
import tarfile

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import UsageError
from pipeline.store.files import Files
from stages.ingest.listing import ListedFile
from stages.ingest.tar_index import tar_members

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def member(name, size=0, **more):
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tar(members, kind="pax", **more):
    """An archive of (TarInfo, bytes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind], **more) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def listed(path, data=None):
    if data is not None:
        path.write_bytes(data)
    return ListedFile(path.name, str(path), "")


def members_of(path, data=None, wanted=lambda name: False):
    return list(tar_members(listed(path, data), wanted))


SAMPLES = [(member("a/1.jpg"), b"x" * 700), (member("a/1.cls"), b"3"), (member("é" * 80 + "/2.jpg"), b"y" * 3000)]

parts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=60)
names = st.lists(parts, min_size=1, max_size=5).map("/".join)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(names, st.binary(max_size=1500), st.booleans(), st.floats(0, 2e9)), max_size=8),
    st.sampled_from(["gnu", "pax"]),
)
def test_members_are_where_tarfile_finds_them(tmp_path_factory, members, kind):
    """Breaks when a body is looked for elsewhere: after long names, pax headers, folders, or bodies of any length."""
    path = tmp_path_factory.mktemp("tar") / "t.tar"
    folders = [(member(name, type=tarfile.DIRTYPE), b"") for name, _, folder, _ in members if folder]
    data = tar(folders + [(member(name, mtime=time), body) for name, body, _, time in members], kind)
    found = members_of(path, data, lambda name: len(name) % 2 == 0)
    with tarfile.open(path) as archive:
        known = [(each.name, each.offset_data, each.size) for each in archive if each.isfile()]
        assert [(each.name, each.offset, each.length) for each in found] == known
    for each in found:
        assert each.body == (data[each.offset : each.offset + each.length] if len(each.name) % 2 == 0 else None)


@pytest.mark.parametrize("kind", ["v7", "ustar", "gnu", "oldgnu", "pax"])
def test_what_the_program_tar_packs_is_read(tmp_path, kind):
    """Breaks when another program's form of names, folders or sizes is not understood."""
    folder = tmp_path / "in" / "train" / "n01440764"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "a.cls", "b" * 40 + ".jpg"):
        (folder / name).write_bytes(name.encode() * 100)
    path = tmp_path / "t.tar"
    subprocess.run(["tar", f"--format={kind}", "-cf", path, "-C", tmp_path / "in", "."], check=True)
    data = path.read_bytes()
    found = {each.name.rpartition("/")[2]: data[each.offset : each.offset + each.length] for each in members_of(path)}
    assert found == {name: name.encode() * 100 for name in ("a.jpg", "a.cls", "b" * 40 + ".jpg")}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_tar_that_was_cut_anywhere_is_refused(tmp_path, kind):
    """Breaks when a tar that was copied in part is taken for a smaller one, and its last images are lost in silence."""
    data = tar([SAMPLES[0], SAMPLES[1]], kind)
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for cut in [*range(0, end, 128), end]:
        with pytest.raises(UsageError, match="t.tar: (cut off|empty)"):
            members_of(tmp_path / "t.tar", data[:cut])


def test_a_damaged_header_is_no_end(tmp_path):
    """Breaks when what lies behind a flipped bit is lost in silence, as tarfile loses it."""
    data = bytearray(tar(SAMPLES, "gnu"))
    whole, second = members_of(tmp_path / "t.tar", data), 512 + 1024
    for at in range(second, second + 512, 3):
        data[at] ^= 4
        try:
            assert [each.offset for each in members_of(tmp_path / "t.tar", data)] == [each.offset for each in whole]
        except UsageError as error:
            assert str(error).startswith("dataset: t.tar: damaged: no header at byte 1536")
        data[at] ^= 4


def refitted(block):
    """A header with the right sum."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def header(size_field, kind=b"0", name=b"a.jpg"):
    block = bytearray(member(name.decode()).tobuf(tarfile.GNU_FORMAT)[:512])
    block[124:136], block[156:157] = size_field, kind
    return refitted(block)


END = b"\0" * 1024
HUGE = b"\x80" + (2**40).to_bytes(11, "big")
PAX_LOOP = header(b"%011o\0" % 0, b"x") * 5000
HOSTILE = {
    "a name of a gigabyte": (header(b"%011o\0" % 2**30, b"L"), "has 1073741824 bytes"),
    "a pax header of a terabyte": (header(HUGE, b"x"), "has 1099511627776 bytes"),
    "a body of a terabyte": (header(HUGE) + b"x" * 512 + END, "cut off: 'a.jpg' would end at byte"),
    "a negative size": (header(b"\xff" * 12) + END, "damaged: no size"),
    "a negative octal": (header(b"-0000001000\0") + END, "damaged: no size"),
    "no number": (header(b"12345678901\0") + END, "damaged: no size"),
    "a pax size below zero": (tar([(member("a", pax_headers={"size": "-512"}), b"x")]), "damaged: no size in the pax"),
    "a pax record without end": (
        header(b"%011o\0" % 512, b"x") + b"99999 path=x\n".ljust(512, b"\0") + END, "damaged: no pax header at byte 0",
    ),
    "pax headers of pax headers": (PAX_LOOP, "cut off"),
    "a sparse file": (header(b"%011o\0" % 0, b"S") + END, "'a.jpg' is sparse"),
    "a sparse file in pax": (tar([(member("a", pax_headers={"GNU.sparse.major": "1"}), b"x")]), "is sparse"),
    "a symbolic link": (tar([(member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")]), "'a' is a link"),
    "a hard link": (tar([(member("b", type=tarfile.LNKTYPE, linkname="a"), b"")]), "tar --dereference"),
    "a device": (tar([(member("d", type=tarfile.CHRTYPE), b"")]), "of a type that no file has"),
    "two archives joined": (tar(SAMPLES) + b"\0" * 2**20 + tar(SAMPLES), "archives that were joined"),
    "gzip": (gzip.compress(tar(SAMPLES)), r"compressed \(gzip\).*decompress it"),
    "bzip2": (bz2.compress(tar(SAMPLES)), r"compressed \(bzip2\)"),
    "xz": (lzma.compress(tar(SAMPLES)), r"compressed \(xz\)"),
    "a text": (b"version https://git-lfs.github.com/spec/v1\n", "cut off"),
    "noise": (random.Random(0).randbytes(5000), "damaged: no header at byte 0"),
    "nothing": (b"", "empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_and_other_files_are_refused_in_one_line(tmp_path, case):
    """Breaks when a stranger's tar takes memory, recursion or time without end, or ends in silence."""
    data, words = HOSTILE[case]
    with pytest.raises(UsageError, match=rf"^dataset: t.tar: .*{words}") as refused:
        members_of(tmp_path / "t.tar", data, lambda name: True)
    assert "\n" not in str(refused.value)


def test_a_pax_header_of_many_records_is_read_in_no_time(tmp_path):
    """Breaks when a header of a megabyte is copied once for each of its records."""
    record = b"6 a=b\n"
    body = record * (2**20 // len(record))
    data = header(b"%011o\0" % len(body), b"x") + body.ljust(2**20, b"\0") + header(b"%011o\0" % 0) + END
    assert [each.name for each in members_of(tmp_path / "t.tar", data)] == ["a.jpg"]


def test_sizes_beyond_eight_gigabytes_are_understood(tmp_path):
    """Breaks when a member behind one of nine gigabytes is looked for at its start: the file here is full of holes."""
    for kind in ("gnu", "pax"):
        size = 9 * 2**30
        with (tmp_path / kind).open("wb") as file:
            file.write(member("large", size).tobuf(FORMATS[kind]))
            file.seek(size, io.SEEK_CUR)
            file.write(tar([(member("a.jpg"), b"x")]))
        assert [each.name for each in members_of(tmp_path / kind)] == ["large", "a.jpg"]


def test_an_unreadable_shard_is_named(tmp_path):
    """Breaks when a shard that is gone, or that is a pipe, ends in a raw error."""
    with pytest.raises(UsageError, match="dataset: t.tar: No such file"):
        members_of(tmp_path / "t.tar")
    with pytest.raises(UsageError, match="dataset: t.tar: a pipe, no file"):
        list(tar_members(ListedFile("t.tar", "x", "", "a pipe, no file"), lambda name: False))


@pytest.mark.parametrize(("kind", "most"), [("pax", 0.05), ("gnu", 0.025)])
def test_few_bytes_are_fetched_beside_the_bodies(monkeypatch, kind, most):
    """Breaks when an index fetches images: of photographs of 100 kB it may take 10 % of their bytes with the images."""
    chance = random.Random(0)
    bodies = [chance.randbytes(chance.randint(30_000, 170_000)) for _ in range(30)]
    members = [(member(f"{i:06}.{end}", mtime=1.5), data) for i, body in enumerate(bodies)
               for end, data in (("cls", b"3"), ("jpg", body))]  # fmt: skip
    Files("memory://tars").put(f"{kind}.tar", tar(members, kind))
    fetched = []
    memory = type(fsspec.filesystem("memory"))
    plain = memory.cat_file

    def counted(self, path, start=None, end=None, **more):
        fetched.append(end - start)
        return plain(self, path, start=start, end=end, **more)

    monkeypatch.setattr(memory, "cat_file", counted)
    file = ListedFile("t.tar", f"memory://tars/{kind}.tar", "")
    assert [m.body for m in tar_members(file, lambda name: name.endswith("cls"))][::2] == [b"3"] * 30
    assert sum(fetched) < most * sum(map(len, bodies))
    assert len(fetched) <= 32
