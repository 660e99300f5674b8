"""The one exception a user's mistake raises."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A mistake found before the first step: wrong option, missing file, bad data.

    The message is one line that names the file, field or value and says what to do. The commands
    print it without a traceback and exit with status 2.
    """


def right_names(wrong: str, known: Iterable[str]) -> str:
    """The end of a message about a wrong name: the closest right one, and all there are."""
    names = list(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"{hint}There are: {', '.join(names) or 'none'}"
