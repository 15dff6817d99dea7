"""A small convolutional network over the last book states, in numpy: will the mid price rise, stay or fall?

One layer of filters slides over time across all 40 columns of `frame.lob_tensor`, then the mean over time and one dense
layer give three probabilities. It is an example of the plumbing, not of a strategy.
"""

import numpy as np

STATES = 64
"""Book states that it looks at."""
KERNEL, FILTERS, CLASSES = 8, 16, 3
"""States that a filter spans, filters, and (falls, stays, rises)."""


def features(tensor: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float32 [n, 40] of prices and quantities as float32 [n, 40] near zero: distances from the mid in basis points,
    logarithms of quantities; what is unknown is 0."""
    levels = tensor.reshape(len(tensor), 10, 4).astype(np.float64)
    mid = (levels[:, :1, 0] + levels[:, :1, 2]) / 2
    out = np.empty_like(levels)
    for prices, quantities in ((0, 1), (2, 3)):
        out[:, :, prices] = (levels[:, :, prices] / mid - 1) * 1e4
        out[:, :, quantities] = np.log1p(levels[:, :, quantities])
    out = out.reshape(tensor.shape)
    return np.where(mask & np.isfinite(out), out, 0.0).astype(np.float32)


class Cnn:
    """The network: `forward` one sample, `step` a batch of training."""

    def __init__(self, weights: dict | None = None, seed: int = 0):
        random = np.random.default_rng(seed)
        self.weights = weights or {
            "kernel": random.normal(0, 0.05, (FILTERS, KERNEL * 40)),
            "kernel_bias": np.zeros(FILTERS),
            "dense": random.normal(0, 0.1, (CLASSES, FILTERS)),
            "dense_bias": np.zeros(CLASSES),
            "mean": np.zeros(40),
            "scale": np.ones(40),
        }

    @classmethod
    def load(cls, path) -> "Cnn":
        with np.load(path) as file:
            return cls({name: file[name] for name in file.files})

    def save(self, path) -> None:
        np.savez(path, **{name: array.astype(np.float32) for name, array in self.weights.items()})

    def fit_scale(self, samples: np.ndarray) -> None:
        """Centres and scales the columns, by samples [batch, n, 40]."""
        self.weights["mean"] = samples.mean(axis=(0, 1))
        self.weights["scale"] = samples.std(axis=(0, 1)) + 1e-6

    def _hidden(self, samples: np.ndarray):
        scaled = (samples - self.weights["mean"]) / self.weights["scale"]
        windows = np.lib.stride_tricks.sliding_window_view(scaled, KERNEL, axis=1)
        patches = windows.transpose(0, 1, 3, 2).reshape(len(samples), -1, KERNEL * 40)
        active = patches @ self.weights["kernel"].T + self.weights["kernel_bias"]
        return patches, active, np.maximum(active, 0).mean(axis=1)

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        """[batch, n, 40] to [batch, 3]: falls, stays, rises."""
        hidden = self._hidden(samples)[2]
        scores = hidden @ self.weights["dense"].T + self.weights["dense_bias"]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def forward(self, tensor: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Of one `lob_tensor`: three float32 that sum to 1."""
        return self.probabilities(features(tensor, mask)[np.newaxis])[0].astype(np.float32)

    def step(self, samples: np.ndarray, labels: np.ndarray, rate: float) -> float:
        """One step of gradient descent on the cross-entropy; returns it."""
        patches, active, hidden = self._hidden(samples)
        given = self.probabilities(samples)
        rows = np.arange(len(labels))
        loss = -np.log(given[rows, labels] + 1e-12).mean()
        error = given.copy()
        error[rows, labels] -= 1
        error /= len(labels)
        back = (error @ self.weights["dense"])[:, np.newaxis] * (active > 0) / active.shape[1]
        gradients = {
            "dense": error.T @ hidden,
            "dense_bias": error.sum(axis=0),
            "kernel": np.einsum("btf,btk->fk", back, patches),
            "kernel_bias": back.sum(axis=(0, 1)),
        }
        for name, gradient in gradients.items():
            self.weights[name] = self.weights[name] - rate * gradient
        return float(loss)
