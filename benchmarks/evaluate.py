"""Scores anybody's predictions with the code that scores our own arms; trains nothing.

python -m benchmarks.evaluate task=depth_nyu task.root=DIR predictions=DIR name=mymodel
"""

from benchmarks.config import command
from benchmarks.config.schema import Config


def job(config: Config) -> int:
    """One set of predictions; writes a record of kind `evaluation`."""
    from benchmarks.match.outside import evaluate

    return evaluate(config)


if __name__ == "__main__":
    raise SystemExit(command.run(job, command="evaluate"))
