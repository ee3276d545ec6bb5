"""A clock that goes on only when a test says so."""


class FakeClock:
    """Stands for the module `time` in a module that is tested.

    Parameters
    ----------
    now : float
        In seconds.
    """

    def __init__(self, now):
        self.now = now

    def monotonic(self):
        return self.now
