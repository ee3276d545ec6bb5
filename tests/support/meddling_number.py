"""A number that lets something else happen in the middle of `+= 1`, as another thread may where no lock prevents it."""

import threading


class MeddlingNumber(int):
    """A number that has another thread call a function before it is added to; for 50 ms, if that thread waits for this one.

    Parameters
    ----------
    value : int
    function : callable
    """

    def __new__(cls, value, function):
        number = super().__new__(cls, value)
        number.thread = threading.Thread(target=function)
        return number

    def __add__(self, other):
        self.thread.start()
        self.thread.join(0.05)
        return int(self) + other

    def __sub__(self, other):
        return self + -other
