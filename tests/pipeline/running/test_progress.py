from pipeline.running.progress import TerminalProgress


def test_stages_that_run_at_once_share_the_display():
    """Breaks when two displays draw over each other, or the first stage to end takes the other's bar away."""
    progress = TerminalProgress()
    one, two = progress.stage("one", 1, 0), progress.stage("two", 2, 1)
    first, second = one.__enter__(), two.__enter__()
    display = progress._display
    assert display is not None
    assert [(task.description, task.total, task.completed) for task in display.tasks] == [("one", 1, 0), ("two", 2, 1)]
    first.advance(3, 1)
    one.__exit__(None, None, None)
    assert shown(display)
    second.advance(5, 0)
    two.__exit__(None, None, None)
    assert not shown(display)
    assert [task.completed for task in display.tasks] == [1, 2]
    with progress.stage("three", 1, 0):
        assert progress._display is not display


def shown(display) -> bool:
    return bool(display.live.is_started)
