"""The example models, as processes beside a real engine: they publish, and see each other's outputs."""

import os
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from engine import PROGRAM, ROOT, Engine, Exchange, wait_until

import cobring

pytestmark = pytest.mark.skipif(not os.path.exists(PROGRAM), reason=f"no {PROGRAM}: cargo build, or set COBRING_BIN")
EXAMPLES = ROOT / "tools/python/examples"
MODELS = "\n[models.cnn]\noutputs = 3\nsum_to_one = true\n\n[models.policy]\noutputs = 1\n"


@pytest.fixture(scope="module")
def exchange():
    made = Exchange("--seed", "11")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def engine(exchange):
    made = Engine(exchange, MODELS)
    yield made
    made.remove()


def run(script, *arguments):
    return subprocess.Popen([sys.executable, str(EXAMPLES / script), *map(str, arguments)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout


def test_two_models_publish_and_see_each_other(engine, tmp_path):
    eth = cobring.open("ETHUSDT", dir=engine.shm)
    wait_until("book states to learn from", lambda: eth.wait(1) and len(eth.latest(0).book_states) >= 90, 120)
    weights = tmp_path / "cnn.npz"
    # Of the run so far: what is trained on is what the engine itself has logged.
    print(finish(run("train_cnn.py", *engine.logs(), "--symbol", "ETHUSDT", "--epochs", "2", "-o", weights)))
    cnn = run("cnn.py", "ETHUSDT", "--weights", weights, "--dir", engine.shm, "--count", 30, "--min-quality", "0.5")
    wait_until("the CNN speaks", lambda: eth.wait(1) and len(eth.latest(0).models.cnn))
    policy = run("policy.py", "ETHUSDT", "--dir", engine.shm, "--count", 4, "--every", "200ms", "--min-quality", "0.5")
    printed = finish(policy)
    assert printed.count("ETHUSDT frame") == 4
    wait_until("the policy's outputs show", lambda: eth.wait(1) and len(eth.latest(0).models.policy) >= 4)
    frame = eth.latest(0)
    rows = frame.models.cnn[:]
    np.testing.assert_allclose(rows["outputs"][:, :3].sum(axis=1), 1, atol=1e-3)
    answers = frame.models.policy[:]
    assert set(answers["action"]) <= {-1, 0, 1}
    # What the policy says that it saw is what the CNN had said before.
    seen = {tuple(row["state"][:3].tolist()) for row in answers}
    assert seen <= {tuple(row["outputs"][:3].tolist()) for row in rows}
    finish(cnn)


def test_a_picture_is_drawn(engine, tmp_path):
    pytest.importorskip("matplotlib")
    eth = cobring.open("ETHUSDT", dir=engine.shm)
    wait_until("seconds of buckets", lambda: eth.wait(1) and len(eth.latest(0).cob_rows) >= 3)
    picture = tmp_path / "eth.png"
    finish(run("picture.py", "ETHUSDT", "--dir", engine.shm, "-o", picture))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size > 20_000


def test_a_stalled_stream_is_refused_with_found_and_wanted(engine, exchange):
    eth = cobring.open("ETHUSDT", dir=engine.shm)
    stall(exchange)
    refused = []

    def is_refused():
        try:
            eth.latest(min_quality=0.8)
        except cobring.LowQuality as low:
            refused.extend(low.reasons)
        return any(reason.block == "quality.freshness" for reason in refused)

    wait_until("frames are refused", is_refused, 60)
    reason = next(reason for reason in refused if reason.block == "quality.freshness")
    assert reason.wanted == "at least 0.8" and "depth_old" in reason.found and "s old" in reason.found
    frames = eth.frames(timeout=1)
    assert next(frames, None) is None and frames.refused > 0


def stall(exchange):
    """Depth messages of ETHUSDT stop; everything else goes on."""
    fault = b'{"kind": "stall", "stream": "ethusdt@depth*"}'
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(exchange.rest_url + "/sim/fault", data=fault, headers=headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
