"""Annotation files as their programs write them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

OBJECT = """\
	<object>
		<name>{name}</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>{difficult}</difficult>
		<bndbox>
			<xmin>{corners[0]}</xmin>
			<ymin>{corners[1]}</ymin>
			<xmax>{corners[2]}</xmax>
			<ymax>{corners[3]}</ymax>
		</bndbox>
	</object>
"""
FILE = """\
<annotation>
	<folder>{folder}</folder>
	<filename>{filename}</filename>
	<source>
		<database>{database}</database>
	</source>
	<size>
		<width>{size[0]}</width>
		<height>{size[1]}</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
{objects}</annotation>
"""

PERSON = """<annotation>
	<folder>VOC2012</folder>
	<filename>2008_008753.jpg</filename>
	<source>
		<database>The VOC2008 Database</database>
		<annotation>PASCAL VOC2008</annotation>
		<image>flickr</image>
	</source>
	<size><width>500</width><height>442</height><depth>3</depth></size>
	<segmented>0</segmented>
	<object>
		<name>person</name>
		<pose>Unspecified</pose>
		<truncated>1</truncated>
		<occluded>1</occluded>
		<bndbox><xmax>292.20000076293945</xmax><xmin>45.70000076293945</xmin><ymax>500</ymax><ymin>1</ymin></bndbox>
		<difficult>1</difficult>
		<part>
			<name>head</name>
			<bndbox><xmin>98</xmin><ymin>98</ymin><xmax>180</xmax><ymax>220</ymax></bndbox>
		</part>
	</object>
</annotation>
"""
"""An object of VOC 2012 with all its oddities: a part with a name and a box, corners in another order, floats."""


def annotation(
    filename: str,
    objects: Iterable[tuple] = (),
    *,
    folder: str = "images",
    size: tuple[int, int] = (500, 375),
    database: str = "Unknown",
) -> str:
    """An annotation file. objects: (name, xmin, ymin, xmax, ymax) or one more, whether it is difficult."""
    texts = [
        OBJECT.format(name=name, corners=rest[:4], difficult=int(bool(rest[4:] and rest[4]))) for name, *rest in objects
    ]
    return FILE.format(filename=filename, folder=folder, size=size, database=database, objects="".join(texts))


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a root."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode() if isinstance(content, str) else content)
