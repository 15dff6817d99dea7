"""A model process: a policy over figures of the frame and the CNN's latest output; publishes an action as `policy`.

    [models.policy]       # in the engine's configuration
    outputs = 1

    python policy.py ETHUSDT

Its score is a weighted sum: the imbalance, its average, the order flow and the CNN's opinion of a rise. Above a threshold
it would buy (action 1), below the opposite one sell (-1), else wait (0). What it saw of the CNN goes into its state, so
that a later look at the outputs shows why it did what it did.
"""

import argparse
import math

import cobring

NAMES = ["imbalance.imbalance", "imbalance.imbalance_ma_5s", "flow.ofi[1]", "flow.buy_volume[1]", "flow.sell_volume[1]"]
THRESHOLD = 0.25


def score(values, known, cnn):
    """-1 to 1, of what is known."""
    imbalance, average, ofi, bought, sold = (float(v) if k else 0.0 for v, k in zip(values, known))
    flow = (bought - sold) / (bought + sold) if bought + sold > 0 else 0.0
    opinion = float(cnn["value"]) if cnn is not None and not math.isnan(cnn["value"]) else 0.0
    return math.tanh(0.5 * imbalance + 0.5 * average + 0.1 * math.tanh(ofi) + 0.3 * flow + 1.0 * opinion)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol", nargs="?", default="ETHUSDT")
    parser.add_argument("--dir", help="the engine's directory")
    parser.add_argument("--every", default="500ms", help="at most one answer in each such span (default 500ms)")
    parser.add_argument("--count", type=int, help="end after so many outputs")
    parser.add_argument("--min-quality", type=float, default=0.8)
    arguments = parser.parse_args()

    reader = cobring.open(arguments.symbol, name="policy", dir=arguments.dir, min_quality=arguments.min_quality, timeout=30)
    output = cobring.Model(arguments.symbol, "policy", dir=arguments.dir)
    for frame in reader.frames(every=arguments.every, mode="latest", on_low="skip"):
        try:
            cnn = frame.outputs(without="policy").get("cnn")
            seen = [] if cnn is None else [float(p) for p in cnn["outputs"][:3]]
            values, known = frame.vector(NAMES)
            value = score(values, known, cnn)
            if not frame.intact():
                continue
            action = (value > THRESHOLD) - (value < -THRESHOLD)
            output.publish(frame, [value], action=action, value=value, confidence=abs(value), horizon="5s", state=seen)
        except (cobring.Lapped, cobring.EpochChanged):
            continue
        verb = {1: "buy", 0: "wait", -1: "sell"}[action]
        print(f"{frame.symbol} frame {frame.seq}: {verb:4} {value:+.2f}  cnn {seen or 'silent'}", flush=True)
        if arguments.count and output.published >= arguments.count:
            break


if __name__ == "__main__":
    main()
