"""Makes the weights of cnn.py from recordings, or from logs of the engine (against the exchange or the simulator).

    python train_cnn.py cobring-log/*.cblog --symbol ETHUSDT -o cnn.npz
"""

import argparse

import cobring
import numpy as np
from lob_cnn import STATES, Cnn, features


def samples(paths, symbol, ahead, every, most):
    """Book states up to a depth message, and whether the mid has risen `ahead` depth messages later."""
    inputs, mids, at = [], [], []
    for frame in cobring.replay(paths, symbol, reference=None):
        if frame.trigger != "depth" or frame.book.book_state != "live":
            continue
        mids.append((frame.book.bids[0, 0] + frame.book.asks[0, 0]) / 2)
        if len(mids) % every == 0 and len(frame.book_states) >= STATES:
            tensor, mask = frame.lob_tensor(STATES)
            inputs.append(features(tensor, mask))
            at.append(len(mids) - 1)
        if len(inputs) == most:
            break
    known = [n for n, place in enumerate(at) if place + ahead < len(mids)]
    moves = np.array([mids[at[n] + ahead] - mids[at[n]] for n in known])
    return np.array([inputs[n] for n in known]), np.sign(moves).astype(int) + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="FILE", help="recordings or logs")
    parser.add_argument("--symbol")
    parser.add_argument("--ahead", type=int, default=10, help="depth messages to look ahead (default 10: a second)")
    parser.add_argument("--every", type=int, default=2, help="a sample each so many depth messages (default 2)")
    parser.add_argument("--most", type=int, default=4_000, help="samples at most (default 4000)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("-o", "--output", default="cnn.npz")
    arguments = parser.parse_args()

    inputs, labels = samples(arguments.paths, arguments.symbol, arguments.ahead, arguments.every, arguments.most)
    if not len(inputs):
        raise SystemExit(f"no sample: wanted live books with {STATES + arguments.ahead} depth messages or more")
    # In order of time: what is tested lies after what was learnt.
    split = max(1, len(inputs) * 4 // 5)
    model, random = Cnn(), np.random.default_rng(0)
    model.fit_scale(inputs[:split])
    for epoch in range(arguments.epochs):
        order = random.permutation(split)
        losses = [model.step(inputs[part], labels[part], 0.1) for part in np.array_split(order, max(1, split // 32))]
        if epoch in (0, arguments.epochs - 1):
            print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
    if split < len(inputs):
        right = (model.probabilities(inputs[split:]).argmax(axis=1) == labels[split:]).mean()
        most = np.bincount(labels[split:]).max() / len(labels[split:])
        print(f"{len(labels) - split} later samples: {right:.1%} right, the most frequent class is {most:.1%}")
    model.save(arguments.output)
    print(f"{arguments.output}: from {split} samples")


if __name__ == "__main__":
    main()
