"""The command `convert`, run in this process."""

from fastprep import convert


def run(*arguments):
    """Run it with arguments that are texts, paths or numbers; return its exit status."""
    return convert.main([str(argument) for argument in arguments])


def check_refused(capsys, out, message, *arguments):
    """Check that it refuses arguments in one line with the message, and leaves nothing beside `out`; return the line."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fastprep.convert: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert list(out.parent.iterdir()) == []
    return captured.err
