"""What depends on a secret is compared in constant time, and a secret neither prints, logs nor pickles (T12)."""

from __future__ import annotations

import ast
import copy
import logging
import pickle
from pathlib import Path

import pytest

from lastmetre.gbcs.keys import SharedSecret

SOURCE = Path(__file__).parents[2] / "src" / "lastmetre"
SECRET_WORDS = frozenset({"mac", "secret", "passphrase", "pin"})
"""A name with one of these words, or the outcome of a function with one, is not compared by an operator."""
COMPARERS = {
    "gbcs/protect.py": "verify_mac",
    "gbcs/utrn.py": None,
    "relay/permit.py": None,
}
"""Where a MAC is judged, and in which function where that is one of this name."""


def words_of(node: ast.expr) -> set[str]:
    """The words of the name of an operand, or of the function whose outcome it is; a constant holds no secret."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return set().union(*map(words_of, node.elts))
    if isinstance(node, ast.Call | ast.Subscript):
        return words_of(node.func if isinstance(node, ast.Call) else node.value)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return set() if name.isupper() else set(name.lower().split("_"))


def careless(text: str) -> list[int]:
    """Lines that compare a secret by ``==``, ``!=``, ``in`` or ``not in``."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops)
        and any(words_of(operand) & SECRET_WORDS for operand in (node.left, *node.comparators))
    ]


def test_no_secret_is_compared_by_an_operator() -> None:
    """T12: no module of the package compares a MAC or a secret by an operator, which ends at the first difference."""
    found = {str(path.relative_to(SOURCE)): careless(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line", ["made == message.mac", "mac_of(a, b, c) != given", "_mac(a) == b", "x in (secret, y)", "mac[:4] == b"]
)
def test_the_lint_sees_what_it_is_for(line: str) -> None:
    """T12: each shape of a careless comparison is found; a careful one is not."""
    assert careless(line) == [1]
    assert careless("message.mac is None or not compare_digest(mac_of(a), message.mac)") == []


@pytest.mark.parametrize("name", COMPARERS)
def test_a_mac_is_judged_in_constant_time(name: str) -> None:
    """T12: each module that judges a MAC does it by ``hmac.compare_digest``."""
    tree: ast.AST = ast.parse((SOURCE / name).read_text("utf-8"))
    if (wanted := COMPARERS[name]) is not None:
        tree = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == wanted)
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert called & {"compare_digest", "hmac.compare_digest"}


def test_an_agreed_secret_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """T12: its octets are in no repr, text or log line, and it is neither pickled nor copied."""
    octets = bytes(range(0x41, 0x61))
    secret = SharedSecret(octets)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("lastmetre").warning("secret %s %r %s", secret, secret, [secret])
    for text in (repr(secret), str(secret), f"{secret}", caplog.text):
        assert "hidden" in text
        assert octets.decode() not in text
        assert octets.hex() not in text.lower()
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(secret)
