import click
import pytest
import structlog

from jobs import cli, logs

URI = "s3://id:s3cr3t@bucket/x and https://h/w?sig=s3cr3t"


@pytest.mark.parametrize("form", logs.FORMS)
def test_credentials_are_not_logged(capsys, form):
    """Breaks when a library's URI, or one of a command line, gets into a job's log with its password."""
    logs.configure(form=form)
    structlog.get_logger("x").warning(URI, place=URI, count=3)
    structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "s3cr3t" not in said
    assert said.count("***@bucket/x") == said.count("sig=***") == 2


def test_credentials_are_not_in_the_line_of_an_error(weakbox, monkeypatch):
    """Breaks when an error that a library words shows a password."""

    @click.command()
    def fails():
        raise OSError(f"no answer from {URI}")

    monkeypatch.setitem(cli.cli.commands, "fails", fails)
    code, _, err = weakbox("fails")
    assert (code, err) == (1, "weakbox: error: OSError: no answer from s3://***@bucket/x and https://h/w?sig=***\n")
