"""What earlier runs of a job have left: taken, refused or run again."""

import pytest

from benchmarks.config.schema import Config
from benchmarks.match import finished
from crossflow.errors import InputError


@pytest.fixture
def look(written):
    """look(record, **score): what is found of a record, once the score fields say `score`."""

    def found(one, **score):
        config = Config(out=str(written([one])))
        return finished.finished_rows(config, {one.method: one.run_id}, {**one.fair.score, **score})

    return found


def test_a_completed_row_is_taken_and_one_of_older_rules_refused(record, look):
    one = record()
    assert look(one)["crossflow"][1] == one
    with pytest.raises(InputError, match="version: 1 / 2"):
        look(one, version=2)


def test_a_failed_row_starts_again_whatever_its_rules_were(record, look):
    one = record(status="failed")
    assert look(one) == {}
    assert look(one, version=2) == {}
