import pytest
import structlog

from jobs.cli import main


@pytest.fixture
def weakbox(capfd):
    """Call the command as the shell does; gives (exit code, stdout, stderr)."""

    def call(*arguments: str) -> tuple[object, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    yield call
    structlog.reset_defaults()
