"""Documents that are made from the code say what the code says."""

from docs.make_stages import PATH, text


def test_the_page_of_stages_is_up_to_date():
    """A parameter was added, renamed or got another default: run `python -m docs.make_stages`."""
    assert PATH.read_text(encoding="utf-8") == text()
