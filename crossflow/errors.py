"""The one exception a user's mistake raises."""


class InputError(ValueError):
    """A mistake found before the first step: wrong option, missing file, bad data.

    The message is one line that names the file, field or value and says what to do. The commands
    print it without a traceback and exit with status 2.
    """
