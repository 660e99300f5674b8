"""What `report check` writes for test runners and for GitHub, and the workflow that users copy."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from benchmarks.config.command import prepare
from benchmarks.report import check, references
from benchmarks.report.check import Check

REPOSITORY = Path(__file__).parents[2]
HOSTILE = "a<b>&\"'\x00\x1b[31m]]>\n::error::50%, ü\ud800"
# As in the schema of Jenkins' xUnit plug-in, which the others follow: names of attributes, and of
# the elements inside; what the schema leaves open is left out.
SCHEMA = {
    "testsuites": ({"name", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors"}, {"testcase"}),
    "testcase": ({"name", "classname"}, {"failure", "error", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


def conforms(element):
    attributes, children = SCHEMA[element.tag]
    assert set(element.attrib) == attributes
    for child in element:
        assert child.tag in children
        conforms(child)


@pytest.fixture
def checks():
    arm, hostile = (("depth_tabletop", name, "0" * 12) for name in ("crossflow", HOSTILE))
    why = "0.7 against 0.5, tolerance 0.1, lower is better; rule"
    return [
        Check(*arm, "absrel", "ok", why),
        Check(*arm, "absrel_object", "regressed", why),
        Check(*arm, "rmse", "improved", why),
        Check(*hostile, "run", "failed", HOSTILE),
        Check(*hostile, "protocol", "refused", HOSTILE),
        Check(*arm, "log10", "missing", "no reference", accepted=True),
    ]


def test_junit_has_every_check_and_counts_them(checks):
    written = check.junit(checks)
    root = ET.fromstring(written)
    conforms(root)
    (suite,) = root
    for element in (root, suite):
        assert [element.get(name) for name in ("tests", "failures", "errors")] == ["6", "2", "1"]
    assert len(suite.findall("testcase/failure")) == 2
    assert len(suite.findall("testcase/error")) == 1
    worse, hostile = (failure.get("message") for failure in suite.findall("testcase/failure"))
    for part in ("depth_tabletop crossflow absrel_object", "0.7 against 0.5", "tolerance 0.1"):
        assert part in worse
    assert "a<b>&\"'" in hostile and "\x00" not in written.decode()
    assert hostile == suite[3].find("failure").text
    assert len({(case.get("classname"), case.get("name")) for case in suite}) == 6
    suite[0].set("colour", "red")
    with pytest.raises(AssertionError):
        conforms(root)


def test_annotations_are_one_escaped_line_each(checks):
    found = check.github(checks)
    assert [line.split(" ")[0] for line in found] == ["::error", "::notice", "::error", "::error"]
    for line in found:
        assert line.isprintable()
        _, head, message = re.fullmatch(r"(::)(\w+ title=[^:,]*)::(.*)", line).groups()
        assert not re.search(r"%(?!25|0A|0D|3A|2C)", head + message)
    assert "title=regressed%3A depth_tabletop crossflow absrel_object::" in found[0]
    assert "50%25" in found[2]


def test_lines_for_people_are_printable_and_a_refusal_counts_the_rest(checks):
    assert all(str(one).isprintable() for one in checks)
    with pytest.raises(Exception, match=r"(?s)cannot be compared with x.*and 1 more"):
        check.conclude([checks[4], checks[4]], Path("x"))


def test_the_workflow_for_users():
    flow = yaml.safe_load((REPOSITORY / "docs" / "regression_check.yml").read_text("utf-8"))
    assert flow["permissions"] == {"contents": "read"}
    steps = flow["jobs"]["check"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", name) for name in used)
    shell = "\n".join(step.get("run", "") for step in steps)
    assert "pip install -c constraints.txt" in shell
    (training,) = re.findall(r"python -m benchmarks\.run (.*)", shell)
    assert "check=true" in training
    assert prepare(training.split()), "the command line takes these words"
    (checking,) = re.findall(r"python -m benchmarks\.report (check .*)", shell)
    assert {"--junit", "--github"} <= set(checking.split())
    upload = next(step for step in steps if "upload" in step.get("uses", ""))
    junit = checking.split()[checking.split().index("--junit") + 1]
    assert junit in upload["with"]["path"]
    assert upload["if"] == "always()"


def test_the_workflow_runs_what_has_references():
    """Its run is compared with rows of the committed file: those of the quick preset."""
    stored = references.read(REPOSITORY / "results" / "public" / "expected.csv")
    trained = [row for row in stored if row.task == "depth_tabletop" and row.protocol["fair"]]
    quick = [row for row in trained if row.protocol["fair"]["rules"]["quick"]]
    assert {row.method for row in quick} == {"crossflow", "flow_matching", "regression"}
    assert {row.kind for row in quick} == {"seeded"}
