"""A model process: reads frames, looks at the last book states, publishes three probabilities as model `cnn`.

    [models.cnn]          # in the engine's configuration
    outputs = 3
    sum_to_one = true

    python cnn.py ETHUSDT --weights cnn.npz
"""

import argparse

import cobring
from lob_cnn import STATES, Cnn


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol", nargs="?", default="ETHUSDT")
    parser.add_argument("--weights", default="cnn.npz", help="made by train_cnn.py (default cnn.npz)")
    parser.add_argument("--dir", help="the engine's directory")
    parser.add_argument("--count", type=int, help="end after so many outputs")
    parser.add_argument("--min-quality", type=float, default=0.8)
    arguments = parser.parse_args()

    model = Cnn.load(arguments.weights)
    reader = cobring.open(arguments.symbol, name="cnn", dir=arguments.dir, min_quality=arguments.min_quality, timeout=30)
    output = cobring.Model(arguments.symbol, "cnn", dir=arguments.dir)
    frames = reader.frames(on="depth", mode="latest", on_low="skip")
    for frame in frames:
        try:
            falls, stays, rises = model.forward(*frame.lob_tensor(STATES))
            output.publish(frame, [falls, stays, rises], value=float(rises - falls),
                           confidence=float(max(falls, stays, rises)), horizon="1s")
        except (cobring.NotEnough, cobring.Lapped, cobring.EpochChanged):
            continue  # too early, too late, or a new engine: the next frame
        if output.published % 10 == 1:
            print(f"{frame.symbol} frame {frame.seq}: falls {falls:.2f} stays {stays:.2f} rises {rises:.2f}"
                  f"  (skipped {frames.skipped}, refused {frames.refused})", flush=True)
        if arguments.count and output.published >= arguments.count:
            break


if __name__ == "__main__":
    main()
