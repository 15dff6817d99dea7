"""What the methods of a frame give back, where it is more than an array."""

from typing import NamedTuple

import numpy as np


def _tensor(array):
    import torch

    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


class Heatmap(NamedTuple):
    """The history of buckets, fixed in price: rows by time, columns by price, both ascending."""

    times: np.ndarray
    """int64 [T]: venue seconds."""
    prices: np.ndarray
    """float64 [W]: lower edges of the buckets."""
    values: np.ndarray
    """float32 [T, W]: NaN where not valid."""
    valid: np.ndarray
    """bool [T, W]."""

    def filled(self, value: float = 0.0) -> np.ndarray:
        """The values with `value` in place of NaN."""
        return np.where(self.valid, self.values, np.float32(value))

    def to_torch(self, fill: float = 0.0):
        """(filled values as float32, valid as float32), copies."""
        return _tensor(self.filled(fill)), _tensor(self.valid)

    def __repr__(self) -> str:
        known = float(self.valid.mean()) if self.valid.size else 0.0
        return f"<cobring.Heatmap seconds={len(self.times)} buckets={len(self.prices)} valid={known:.1%}>"


class Panel:
    """Bars of several symbols, joined by open_time: float64 [symbol, time, feature]."""

    def __init__(self, values, valid, times, symbols, features):
        self.values = values
        """float64 [symbol, time, feature]: NaN where not valid."""
        self.valid = valid
        """bool, of the same shape."""
        self.times = times
        """int64 [time]: open_time, ns."""
        self.symbols = list(symbols)
        """The frame's symbol, then the reference."""
        self.features = list(features)

    @property
    def shape(self) -> tuple:
        return self.values.shape

    def __array__(self, dtype=None, copy=None):
        array = self.values if dtype is None else self.values.astype(dtype)
        return array.copy() if copy else array

    def __getitem__(self, key):
        """By symbol's name its [time, feature], else as the array of values."""
        return self.values[self.symbols.index(key) if isinstance(key, str) else key]

    def __len__(self) -> int:
        return len(self.values)

    def filled(self, value: float = 0.0) -> np.ndarray:
        """The values with `value` in place of NaN."""
        return np.where(self.valid, self.values, value)

    def to_torch(self, fill: float = 0.0):
        """(filled values as float32, valid as float32), copies."""
        return _tensor(self.filled(fill)), _tensor(self.valid)

    def __repr__(self) -> str:
        return f"<cobring.Panel {self.symbols} bars={self.shape[1]} features={self.features}>"


def _columns(rows) -> np.ndarray:
    """The numbers of structured rows side by side, as float32."""
    columns = []
    for name in rows.dtype.names:
        column = np.asarray(rows[name])
        flat = column.reshape(len(column), int(np.prod(column.shape[1:], dtype=int))).astype(np.float32)
        if column.dtype == np.int64:
            flat[(column == np.iinfo(np.int64).min).reshape(flat.shape)] = np.nan
        columns.append(flat)
    return np.concatenate(columns, axis=1)


def to_torch(frame, rows: int = 300) -> dict:
    """See Frame.to_torch."""
    tensors = {}
    for name in frame.fields():
        value = frame[name]
        if isinstance(value, (str, tuple)):
            continue
        tensors[name] = _tensor(np.nan if value is None else value)
    for name in frame.windows():
        window = frame[name]
        tensors[name] = _tensor(_columns(window[max(len(window) - rows, 0) :].copy()))
    return tensors
