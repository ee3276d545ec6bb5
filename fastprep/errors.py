"""What a user can mend."""


class InputError(Exception):
    """A wrong argument or unsuitable input of a command: said in one line, without a traceback."""
