"""Numbers as people read them, where two that differ must not read alike."""

from __future__ import annotations


def exact(value: float) -> str:
    """The shortest text that is this number: 2e+14, 0.1, 1234561 (`g` alone prints six digits)."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value).removesuffix(".0")
