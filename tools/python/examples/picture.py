# %% [markdown]
# # A symbol at a glance
# Price buckets as a heatmap, the bars and their pivots on top of it, the imbalance below: from a running engine, or from
# a recording.
#
#     python picture.py ETHUSDT -o eth.png
#     python picture.py ETHUSDT --replay ethusdt.gz --at-seq 12000 -o eth.png

# %%
import argparse

import cobring
import matplotlib
import numpy as np

parser = argparse.ArgumentParser(description="A picture of a symbol: heatmap, candles, pivots.")
parser.add_argument("symbol", nargs="?", default="ETHUSDT")
parser.add_argument("--dir", help="the engine's directory")
parser.add_argument("--replay", nargs="+", metavar="FILE", help="recordings or logs instead of a running engine")
parser.add_argument("--at-seq", type=int, default=0, help="with --replay: the frame to show")
parser.add_argument("--seconds", type=int, default=300)
parser.add_argument("--radius", type=int, default=12)
parser.add_argument("-o", "--output", help="write a PNG instead of opening a window")
arguments, _ = parser.parse_known_args()
if arguments.output:
    matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402

# %% The frame, and everything out of it. A copy: the picture takes longer than the engine waits.
if arguments.replay:
    frame = next(cobring.replay(arguments.replay, arguments.symbol, at_seq=arguments.at_seq)).copy()
else:
    frame = cobring.open(arguments.symbol, dir=arguments.dir, timeout=10).latest(min_quality=0).copy()
heat = frame.cob_heatmap(arguments.seconds, arguments.radius, "net_quote")
bars = frame.candles["1s"][-arguments.seconds :]
size = frame.cob.bucket_size

# %% Colours: bids green, asks amber, on a dark ground; brightness is the square root of the value in quote units.
GROUND, INK, GRID = "#0e1420", "#cbd5e1", "#1f2a3d"
BID, ASK, WARM = "#2dd4a7", "#f59e0b", "#f8fafc"
COLOURS = LinearSegmentedColormap.from_list("book", [ASK, "#5b3a12", GROUND, "#0f4a3f", BID])
plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK,
                     "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": GRID})
figure, (book, below) = plt.subplots(2, 1, figsize=(12, 7.2), height_ratios=[5, 1], sharex=True,
                                     gridspec_kw={"hspace": 0.06}, facecolor=GROUND)
for axis in (book, below):
    axis.set_facecolor(GROUND)
    axis.tick_params(length=0)
below.grid(color=GRID, linewidth=0.5)

# %% The heatmap: seconds across, price up. Seconds count back from the frame.
known_times = heat.times != cobring.UNDEF
if known_times.any():
    now = heat.times[known_times][-1] + 1
    seconds = heat.times[known_times] - now
    cells = heat.filled(0)[known_times]
    shade = np.sign(cells) * np.sqrt(np.abs(cells))
    most = np.percentile(np.abs(shade[shade != 0]), 99) if (shade != 0).any() else 1
    book.pcolormesh(np.append(seconds, 0), np.append(heat.prices, heat.prices[-1] + size), shade.T, cmap=COLOURS,
                    vmin=-most, vmax=most, rasterized=True)
else:
    now = frame.times.ts_recv // 10**9

# %% The bars: a wick and a body each; holes stay empty.
bars = bars[~np.isnan(bars["close"])]
at = bars["open_time"] / 1e9 - now + 0.5
rises = bars["close"] >= bars["open"]
book.plot(at, bars["close"], color=WARM, linewidth=0.8, alpha=0.5)
for chosen, colour in ((rises, BID), (~rises, ASK)):
    book.vlines(at[chosen], bars["low"][chosen], bars["high"][chosen], color=colour, linewidth=0.7, alpha=0.9)
    book.vlines(at[chosen], bars["open"][chosen], bars["close"][chosen], color=WARM, linewidth=2.2, alpha=0.9)

# %% Pivots of the second and third level, and their support and resistance.
levels = [(2, 22, 0.9), (3, 60, 1.0)]
for level, area, alpha in levels if "pivots" in frame else []:
    block = frame.pivots["1s"][level]
    rows = block[:]
    for kind, marker, colour in (("high", "v", ASK), ("low", "^", BID)):
        chosen = rows[rows["kind"] == frame.names("pivot_kind").index(kind)]
        x = chosen["open_time"] / 1e9 - now + 0.5
        book.scatter(x, chosen["price"], s=area, marker=marker, facecolors="none" if level == 2 else colour,
                     edgecolors=colour, linewidths=1.1, alpha=alpha, zorder=4)
    for price, colour in ((block.support, BID), (block.resistance, ASK)):
        if price == price:
            book.axhline(price, color=colour, linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.7)

# %% The axes belong to the book, the imbalance lies below.
if known_times.any():
    book.set_xlim(seconds[0], 0)
    book.set_ylim(heat.prices[0], heat.prices[-1] + size)
rows = frame.cob_rows[-arguments.seconds :]
rows = rows[rows["venue_second"] != cobring.UNDEF]
x = rows["venue_second"] - now + 0.5
below.fill_between(x, 0, rows["imbalance"], where=rows["imbalance"] >= 0, color=BID, alpha=0.55, linewidth=0)
below.fill_between(x, 0, rows["imbalance"], where=rows["imbalance"] < 0, color=ASK, alpha=0.55, linewidth=0)
below.axhline(0, color=INK, linewidth=0.5)
below.set_ylim(-1, 1)
below.set_yticks([-1, 0, 1])
below.set_ylabel("imbalance")
below.set_xlabel("seconds before the frame, by the venue's clock")
book.set_ylabel("price")
book.ticklabel_format(axis="y", useOffset=False, style="plain")
book.set_title(f"{frame.symbol}   {frame.top.bid_px:,.2f} × {frame.top.ask_px:,.2f}", loc="left", fontsize=13, color=WARM,
               fontweight="bold", pad=10)
book.set_title(f"net value of bids and asks by bucket of {size:g}, 1 s bars, pivots of levels 2 and 3"
               f"   quality {frame.data_quality_score:.2f}", loc="right", fontsize=8, color=INK, pad=10)

# %%
if arguments.output:
    figure.savefig(arguments.output, dpi=140, bbox_inches="tight", facecolor=GROUND)
    print(f"{arguments.output}: {frame.symbol} frame {frame.seq}")
else:
    plt.show()
