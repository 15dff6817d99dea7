"""Frames in a notebook: a picture of the bars, the book and the buckets, and the figures behind them."""

import math
from html import escape

_BID, _ASK, _INK, _FAINT, _WARN = "#0b8a6a", "#c2410c", "#334155", "#e2e8f0", "#b45309"
_STYLE = f"font:12px/1.4 ui-sans-serif,system-ui,sans-serif;color:{_INK}"


def _number(value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:,.8f}".rstrip("0").rstrip(".")
    return escape(str(value))


def _get(frame, name, default=None):
    try:
        return frame[name]
    except KeyError:
        return default


def _candles(frame, width=360, height=120) -> str:
    """The last minute of 1 s bars, or as many as there are."""
    try:
        bars = frame.candles["1s"][-60:].copy()
    except Exception:  # no such window, or the engine came round: a picture is not worth an error
        return ""
    bars = bars[~(bars["low"] != bars["low"])]
    if not len(bars):
        return ""
    low, high = float(bars["low"].min()), float(bars["high"].max())
    scale = (height - 8) / ((high - low) or 1.0)
    y = lambda price: height - 4 - (float(price) - low) * scale
    step = width / max(len(bars), 20)
    parts = []
    for index, bar in enumerate(bars):
        x = (index + 0.5) * step
        colour = _BID if bar["close"] >= bar["open"] else _ASK
        top, bottom = sorted((y(bar["open"]), y(bar["close"])))
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y(bar["high"]):.1f}" y2="{y(bar["low"]):.1f}" stroke="{colour}"/>'
            f'<rect x="{x - step * 0.35:.1f}" y="{top:.1f}" width="{step * 0.7:.1f}" height="{max(bottom - top, 1):.1f}"'
            f' fill="{colour}"/>'
        )
    label = f'<text x="2" y="10" font-size="10" fill="{_INK}">{_number(high)}</text>'
    label += f'<text x="2" y="{height - 2}" font-size="10" fill="{_INK}">{_number(low)}</text>'
    return _svg(width, height, "".join(parts) + label)


def _buckets(frame, width=220, height=120) -> str:
    """Quantity by bucket: bids and asks around the centre."""
    bids, asks, valid = (_get(frame, f"cob.{name}") for name in ("bid_qty", "ask_qty", "valid"))
    if bids is None or asks is None or valid is None:
        return ""
    most = max([float(q) for q in (*bids, *asks) if q == q] or [0.0])
    if most <= 0:
        return ""
    step = width / len(bids)
    parts = []
    for index, (bid, ask, known) in enumerate(zip(bids, asks, valid)):
        for quantity, colour in ((bid, _BID), (ask, _ASK)):
            if quantity == quantity and quantity > 0:
                tall = (height - 4) * math.sqrt(float(quantity) / most)
                parts.append(
                    f'<rect x="{index * step:.1f}" y="{height - tall:.1f}" width="{step * 0.85:.1f}"'
                    f' height="{tall:.1f}" fill="{colour}" opacity="{0.85 if known else 0.25}"/>'
                )
    return _svg(width, height, "".join(parts))


def _svg(width, height, body) -> str:
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' style="background:#fff;border:1px solid {_FAINT};border-radius:4px;margin-right:8px">{body}</svg>'
    )


def _table(rows) -> str:
    cells = "".join(
        f'<tr><td style="text-align:left;padding:1px 12px 1px 0;color:#64748b">{escape(name)}</td>'
        f'<td style="text-align:right;font-variant-numeric:tabular-nums">{value}</td></tr>'
        for name, value in rows
    )
    return f'<table style="border-collapse:collapse;display:inline-table;vertical-align:top;{_STYLE}">{cells}</table>'


def frame(frame) -> str:
    score = frame.data_quality_score
    colour = _BID if score >= 0.8 else _ASK
    badge = f'<span style="color:#fff;background:{colour};border-radius:3px;padding:1px 6px">{score:.3f}</span>'
    findings = "".join(
        f'<div style="color:{_ASK if finding.severity == "error" else _WARN}">{escape(str(finding))}</div>'
        for finding in frame.validate()
    )
    figures = [
        ("bid", f"{_number(_get(frame, 'top.bid_px'))} × {_number(_get(frame, 'top.bid_qty'))}"),
        ("ask", f"{_number(_get(frame, 'top.ask_px'))} × {_number(_get(frame, 'top.ask_qty'))}"),
        ("book", _number(_get(frame, "book.book_state"))),
        ("imbalance", _number(_get(frame, "imbalance.imbalance"))),
        ("ma 5 s", _number(_get(frame, "imbalance.imbalance_ma_5s"))),
    ]
    return (
        f'<div style="{_STYLE}"><div style="margin-bottom:4px"><b>{escape(str(_get(frame, "symbol")))}</b>'
        f" frame {_number(_get(frame, 'seq'))} · {_number(_get(frame, 'trigger'))} · quality {badge}</div>"
        f"{_candles(frame)}{_buckets(frame)}{_table(figures)}{findings}</div>"
    )


def block(block) -> str:
    rows = [(name, _value(getattr(block, name) if not name[0].isdigit() else block[name])) for name in block.keys()]
    try:
        rows.append(("rows", f"{len(block):,}")) if hasattr(block[0:0], "dtype") else None
    except TypeError:  # a block without a window
        pass
    return _table(rows)


def _value(value) -> str:
    if hasattr(value, "keys"):
        return f"{len(value.keys())} fields"
    if hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}"
    return ", ".join(value) if isinstance(value, tuple) and all(isinstance(v, str) for v in value) else _number(value)


def reader(reader) -> str:
    state = reader.liveness
    colour = _BID if state == "alive" else _ASK
    return _table(
        [
            ("symbol", escape(reader.symbol)),
            ("engine", f'<span style="color:{colour}">{state}</span>'),
            ("segment", escape(str(reader.path))),
            ("epoch", _number(reader.epoch)),
            ("published", f"{reader.published:,}"),
            ("refused", f"{reader.refused:,}"),
            ("lapped", f"{reader.lapped:,}"),
        ]
    )
