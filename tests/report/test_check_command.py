"""What machines read of the checks: JUnit XML, GitHub annotations, and the workflow for users."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from benchmarks.config.overrides import prepare
from benchmarks.records import record as records
from benchmarks.report import check_command, command
from benchmarks.report.check import Check, Measured
from benchmarks.report.check_command import status
from benchmarks.report.references import protocol

REPOSITORY = Path(__file__).parents[2]
WORKFLOW = REPOSITORY / "docs" / "regression_check.yml"
HOSTILE = "a<b>&\"'\x00\x1b[31m]]>\n::error::50%, ü\ud800"
# testsuites, testsuite and testcase as in the schema of Jenkins' xUnit plug-in, which the others
# follow: names of attributes, and of the elements inside.
SCHEMA = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, {"testcase"}),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "system-out": (set(), set()),
}


@pytest.fixture
def checks(record):
    fields = protocol(record())
    arm = Measured("crossflow", "depth_tabletop", "crossflow", fields, [record()])
    own = Measured(HOSTILE, "depth_tabletop", HOSTILE, fields, [record()])
    values = {"value": 0.7, "reference": 0.5, "tolerance": 0.1, "better": "lower"}
    return [
        Check(arm, "absrel", "ok", "rule", **values),
        Check(arm, "absrel_object", "regressed", "rule", **values),
        Check(arm, "rmse", "improved", "rule", **values),
        Check(own, "run", "failed", HOSTILE),
        Check(own, "protocol", "refused", HOSTILE),
        Check(arm, "log10", "missing", "no reference", value=0.5, accepted=True),
    ]


def conforms(element):
    attributes, children = SCHEMA[element.tag]
    assert set(element.attrib) == attributes
    for child in element:
        assert child.tag in children
        conforms(child)


def test_junit_has_every_check_and_counts_them(checks):
    root = ET.fromstring(check_command.junit(checks))
    conforms(root)
    (suite,) = root
    for element in (root, suite):
        assert [element.get(name) for name in ("tests", "failures", "errors")] == ["6", "2", "1"]
    assert len(suite.findall("testcase")) == 6
    assert len(suite.findall("testcase/failure")) == 2
    assert len(suite.findall("testcase/error")) == 1
    (worse, *_) = suite.findall("testcase/failure")
    for part in ("depth_tabletop crossflow absrel_object", "0.7 against 0.5", "tolerance 0.1"):
        assert part in worse.get("message")
    names = [(case.get("classname"), case.get("name")) for case in suite]
    assert len(set(names)) == 6


def test_hostile_text_in_junit_is_text(checks):
    written = check_command.junit(checks)
    suite = ET.fromstring(written)[0]
    said = suite[3].find("failure").get("message")
    assert "a<b>&\"'" in said
    assert "\x00" not in written.decode()
    assert said == suite[3].find("failure").text


def test_a_schema_breach_is_seen(checks):
    root = ET.fromstring(check_command.junit(checks))
    root[0][0].set("colour", "red")
    with pytest.raises(AssertionError):
        conforms(root)


def test_annotations_are_one_escaped_line_each(checks):
    found = check_command.github(checks)
    assert [line.split(" ")[0] for line in found] == ["::error", "::notice", "::error", "::error"]
    for line in found:
        assert "\n" not in line
        assert "\r" not in line
        _, head, message = re.fullmatch(r"(::)(\w+ title=[^:,]*)::(.*)", line).groups()
        assert not re.search(r"%(?!25|0A|0D|3A|2C)", head + message)
    assert "title=regressed%3A depth_tabletop crossflow absrel_object::" in found[0]
    assert "50%25" in found[2]


def test_lines_for_people_hold_no_line_break_and_no_control_character(checks):
    for check in checks:
        assert check_command.line(check).isprintable()


def test_a_refusal_names_the_first_and_counts_the_rest(checks):
    with pytest.raises(Exception, match="cannot be compared with x") as caught:
        status([checks[4], checks[4]], Path("x"))
    assert "and 1 more" in str(caught.value)


def test_through_the_command_line(record, tmp_path, capsys):
    out, file, report = tmp_path / "out", tmp_path / "e.csv", tmp_path / "new" / "junit.xml"
    records.write(record(value=0.5), out)
    arguments = ["check", "--out", str(out), "--against", str(file)]
    assert command.main([*arguments, "--accept"]) == 0
    records.write(record(value=0.9), out)
    capsys.readouterr()
    assert command.main([*arguments, "--junit", str(report), "--github"]) == 1
    (annotation,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("::")]
    assert annotation.startswith("::error title=regressed%3A depth_tabletop crossflow")
    first = report.read_bytes()
    conforms(ET.fromstring(first))
    assert command.main([*arguments, "--junit", str(report)]) == 1
    assert report.read_bytes() == first
    # A refusal ends with status 2, but the report of the test runner is there.
    records.write(record(value=0.9, fair={"batch": 1}), out)
    assert command.main([*arguments, "--junit", str(report)]) == 2
    assert ET.fromstring(report.read_bytes()).get("errors") == "1"


def test_an_arm_that_is_gone_is_an_error_for_machines(record, tmp_path, capsys):
    out, file, report = tmp_path / "out", tmp_path / "e.csv", tmp_path / "junit.xml"
    lost = records.write(record("regression"), out)
    kept = records.read(records.write(record(), out))
    arguments = ["check", "--out", str(out), "--against", str(file)]
    assert command.main([*arguments, "--accept"]) == 0
    lost.unlink()
    capsys.readouterr()
    assert command.main([*arguments, "--junit", str(report), "--github"]) == 1
    (annotation,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("::")]
    assert annotation.startswith("::error title=absent%3A depth_tabletop regression run::")
    root = ET.fromstring(report.read_bytes())
    conforms(root)
    (case,) = (one for one in root.iter("testcase") if one.find("failure") is not None)
    assert case.get("classname") == f"depth_tabletop.regression.{kept.fair_key}"
    assert case.find("failure").get("type") == "absent"


def test_the_workflow_for_users():
    flow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    assert flow[True] is not None, "YAML 1.1 reads `on` as true"
    assert flow["permissions"] == {"contents": "read"}
    steps = flow["jobs"]["check"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert {name.partition("@")[0] for name in used} == {
        "actions/checkout",
        "actions/setup-python",
        "actions/upload-artifact",
    }
    for name in used:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", name)
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
    from benchmarks.report import references

    rows = references.read(REPOSITORY / "results" / "public" / "expected.csv")
    trained = [row for row in rows if row.task == "depth_tabletop" and row.protocol["fair"]]
    quick = [row for row in trained if row.protocol["fair"]["rules"]["quick"]]
    assert {row.method for row in quick} == {"crossflow", "flow_matching", "regression"}
    assert {row.kind for row in quick} == {"seeded"}
