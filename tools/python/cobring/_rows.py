"""Rows of a window as numpy sees them."""

import numpy as np


class Rows(np.ndarray):
    """Rows in the engine's memory: a read-only structured array, oldest first, zero copy.

    The engine overwrites them in time. What was computed from them counts if `intact()` says so afterwards; `copy()`
    detaches them, checked. A column (`rows["close"]`) is in place too; what is computed is an ordinary array.
    """

    def _view(self):
        base = self.base
        while isinstance(base, np.ndarray):
            base = base.base
        return base if hasattr(base, "check") else None

    def intact(self) -> bool:
        """Whether all that was read from these rows so far was what the engine wrote."""
        view = self._view()
        return view is None or view.intact()

    def copy(self, order="C") -> np.ndarray:
        """The rows in memory of their own; raises Lapped (or Repaired) if the engine changed them meanwhile."""
        copied = np.array(self, order=order, copy=True)
        view = self._view()
        if view is not None:
            view.check()
        return copied

    def to_dict(self) -> dict:
        """Columns, copied and checked."""
        rows = self.copy()
        return {name: rows[name] for name in rows.dtype.names or ()}

    def __array_wrap__(self, array, context=None, return_scalar=False):
        array = np.asarray(array)
        return array[()] if array.ndim == 0 else array

    def __reduce__(self):
        return self.copy().__reduce__()

    def __repr__(self) -> str:
        state = "" if self._view() is None else f", intact={self.intact()}"
        return f"Rows({np.array2string(np.asarray(self), threshold=6, edgeitems=2)}{state})"


def unpack_bits(words: np.ndarray, length: int) -> np.ndarray:
    """Bit sets of 64-bit words as bool, along a last axis of `length`: unpack_bits(frame.cob_rows.last(60)["valid"], 129)."""
    words = np.ascontiguousarray(words, dtype="<u8")
    bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    return bits[..., :length].astype(bool)
