"""Market data of the cobring engine, out of shared memory.

    import cobring

    eth = cobring.open("ETHUSDT", name="cnn-1")
    frame = eth.latest()                          # refuses below quality 0.8 unless told otherwise
    bars = frame.candles["1s"].last(300)          # numpy, zero copy, read-only; NotEnough when short
    heat = frame.cob_heatmap(300, radius=20, metric="net_quote")
    for frame in eth.frames(on="depth"):          # the newest each time; `async for` works too
        ...

Names, units and definitions are those of the engine's frames; times are int ns since the Unix epoch, unknown is None
(in rows: UNDEF, which numpy reads as NaT). Rows lie in the engine's memory and are overwritten in time: `intact()`
says whether what was read was still there, `copy()` detaches or raises Lapped.
"""

import os

from ._cobring import DIR, UNDEF, Block, Frame, Frames, Model, Reader, Replay, __version__, _forked, open, replay
from ._errors import (
    EpochChanged,
    Error,
    Finding,
    Lapped,
    LowQuality,
    NotEnough,
    NoWriter,
    Repaired,
    SchemaMismatch,
    WriterGone,
)
from ._results import Heatmap, Panel
from ._rows import Rows, unpack_bits

__all__ = [
    "DIR",
    "UNDEF",
    "Block",
    "EpochChanged",
    "Error",
    "Finding",
    "Frame",
    "Frames",
    "Heatmap",
    "Lapped",
    "LowQuality",
    "Model",
    "NoWriter",
    "NotEnough",
    "Panel",
    "Reader",
    "Repaired",
    "Replay",
    "Rows",
    "SchemaMismatch",
    "WriterGone",
    "__version__",
    "get_base_data_input",
    "get_cob_heatmap_matrix",
    "open",
    "replay",
    "unpack_bits",
]

os.register_at_fork(after_in_child=_forked)

_readers: dict = {}


def _reader(symbol: str, dir=None) -> Reader:
    """One handle for each symbol and directory, kept."""
    key = (symbol, None if dir is None else str(dir))
    if key not in _readers:
        _readers[key] = open(symbol, dir=dir)
    return _readers[key]


def get_base_data_input(symbol: str, min_quality: float | None = None, dir=None) -> Frame:
    """The newest frame of a symbol, by the name that users of the older system know."""
    return _reader(symbol, dir).latest(min_quality)


def get_cob_heatmap_matrix(
    symbol: str, seconds: int = 300, radius: int = 20, metric: str = "net_quote", dir=None
) -> Heatmap:
    """The heatmap of a symbol's newest frame, by the name that users of the older system know."""
    return _reader(symbol, dir).get_cob_heatmap_matrix(seconds, radius, metric)
