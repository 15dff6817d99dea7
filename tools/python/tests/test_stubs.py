"""The stubs name what there is, and nothing else."""

import ast
import inspect
from pathlib import Path

import pytest

import cobring

STUBS = ast.parse(Path(cobring.__file__).with_name("__init__.pyi").read_text())
CLASSES = {node.name: node for node in STUBS.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in STUBS.body if isinstance(node, ast.FunctionDef)}


def test_all_public_names_have_a_stub():
    public = {name for name in cobring.__all__ if name not in ("DIR", "UNDEF", "__version__")}
    assert public == {name for name in (*CLASSES, *FUNCTIONS) if not name.startswith("_")}


def parameters(node):
    """Names of a stub's parameters, without self."""
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [parameter.arg for parameter in every if parameter.arg != "self"]


# Blocks of the frame are attributes by the segment's schema.
BLOCKS = {"symbol", "schema_id", "epoch", "seq", "input_seq", "trigger", "times", "quality", "top", "price", "book",
          "cob", "imbalance", "flow", "candles", "indicators", "pivots", "pivot_bounds", "cob_rows", "book_states",
          "ticks", "ticker", "models", "cursors"}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_methods_and_their_parameters_are_those_of_the_class(name):
    given = getattr(cobring, name)
    stub = {node.name: node for node in CLASSES[name].body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    if name == "Frame":
        stub = {key: node for key, node in stub.items() if key not in BLOCKS}
    for method, node in stub.items():
        if method.startswith("__") or not callable(real := getattr(given, method)):
            continue
        assert [p for p in inspect.signature(real).parameters if p != "self"] == parameters(node), method
    if given.__module__ == "cobring":  # compiled: nothing is left out
        public = {key for key in vars(given) if not key.startswith("_")}
        assert public == {key for key in stub if not key.startswith("_")}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_have_the_parameters_of_their_stubs(name):
    assert list(inspect.signature(getattr(cobring, name)).parameters) == parameters(FUNCTIONS[name])
