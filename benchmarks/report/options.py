"""Types of options that several reports share."""

from __future__ import annotations

import argparse
from pathlib import Path


def path(text: str) -> Path:
    """A path with `~` expanded; refused like any wrong option where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
