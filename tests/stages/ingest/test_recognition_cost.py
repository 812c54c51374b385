import pytest

from stages import catalog
from stages.ingest.recognition import Names, Tree

CLASSES, MOST = 60, 24


@pytest.fixture(params=["", "train/", "images/train/"])
def tree(tmp_path, request, monkeypatch) -> tuple[Tree, list[str]]:
    """The names of a data set of many classes, and those folders that were listed."""
    listed: list[str] = []
    for number in range(CLASSES):
        folder = tmp_path / f"{request.param}n{number:08d}"
        folder.mkdir(parents=True)
        (folder / "a.JPEG").write_bytes(b"x")
    plain = Tree._list

    def noted(self: Tree, path: str) -> Names:
        listed.append(path)
        return plain(self, path)

    monkeypatch.setattr(Tree, "_list", noted)
    return Tree(str(tmp_path)), listed


@pytest.mark.parametrize("reader", catalog.readers().values(), ids=catalog.readers())
def test_few_folders_are_listed(tree, reader):
    """Breaks when a reader looks into every class folder of ImageNet, which costs as much as listing all its files."""
    names, listed = tree
    reader.recognise(names)
    assert len(listed) <= MOST, listed
