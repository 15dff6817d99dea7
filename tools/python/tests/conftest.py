import itertools
import os
import shutil

import pytest
import segment

import cobring

_numbers = itertools.count()


@pytest.fixture
def shm():
    """A directory in memory for an engine, removed afterwards."""
    path = f"/dev/shm/cobring-py-{os.getpid()}-{next(_numbers)}"
    os.makedirs(path)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def writer(shm):
    """A writer of the standard schema with one good frame."""
    made = segment.Writer(shm, "ETHUSDT", segment.standard())
    segment.good(made)
    yield made
    made.close()


@pytest.fixture
def eth(writer, shm):
    return cobring.open("ETHUSDT", dir=shm)
