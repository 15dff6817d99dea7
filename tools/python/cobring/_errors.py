"""What can go wrong: one class for each thing that a caller can do about it."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing about a frame that is below its best ("warning") or not as required ("error")."""

    block: str
    found: str
    wanted: str
    severity: str

    def __str__(self) -> str:
        return f"{self.block}: found {self.found}, wanted {self.wanted}"


class Error(Exception):
    """Base of all errors of this package."""


class NoWriter(Error):
    """No engine has ever published that symbol there: start one, or check directory and name."""


class WriterGone(Error):
    """The engine has ended and no other has begun; the handle follows the next one by itself."""


class EpochChanged(Error):
    """A new engine has begun, and the handle is on it: state built from earlier frames is void."""

    def __init__(self, message: str, previous: int = 0, current: int = 0) -> None:
        super().__init__(message, previous, current)
        self.previous = previous
        self.current = current

    def __str__(self) -> str:
        return str(self.args[0])


class SchemaMismatch(Error):
    """The segment lacks what was asked for, or is none: use an engine that has it."""


class LowQuality(Error):
    """A frame that is not good enough; `frame` has it all the same, `reasons` say what was found and wanted."""

    def __init__(self, message, frame=None, reasons=()) -> None:
        super().__init__(message)
        self.frame = frame
        self.reasons = list(reasons)

    def __reduce__(self):
        # The frame lies in the engine's memory and stays behind.
        return type(self), (str(self), None, self.reasons)


class Lapped(Error):
    """The engine has overwritten what was to be read: take a newer frame, or read (or copy) sooner."""

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(message, lost)
        self.lost = lost

    def __str__(self) -> str:
        return str(self.args[0])


class Repaired(Lapped):
    """Rows have been corrected since the frame: the next frame has them."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 0)

    def __reduce__(self):
        return type(self), (str(self),)


class NotEnough(Error):
    """Fewer rows (or no frame) than asked for, yet: ask for fewer, or wait."""

    def __init__(self, message: str, found: int = 0, wanted: int = 0) -> None:
        super().__init__(message, found, wanted)
        self.found = found
        self.wanted = wanted

    def __str__(self) -> str:
        return str(self.args[0])
