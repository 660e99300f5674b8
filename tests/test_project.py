"""The project's own files, and the checks of CI: each must be able to fail."""

import importlib.util
import re
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import pytest
from PIL import Image

from crossflow.files import write_atomic

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PINS = dict(
    line.split("==")
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
)


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_of_a_fresh_install_is_pinned_to_a_plain_version():
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["dev"] + extras["real"]
    names = {plain(re.match(r"[\w.-]+", line)[0]) for line in wanted} - {"crossflow-bench"}
    assert names <= {plain(name) for name in PINS}
    for name, version in PINS.items():
        assert re.fullmatch(r"[\w.-]+", name), name
        assert re.fullmatch(r"[0-9][\w.]*", version), (name, version)


def block(mark, text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    script = f'source "{REPOSITORY}/.ci/run"; block {mark}'
    return subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("mark", ["main-job", "tests"])
def test_ci_finds_the_blocks_of_the_readme(mark, tmp_path):
    found = block(mark, (REPOSITORY / "README.md").read_text(), tmp_path)
    assert found.returncode == 0
    assert len(found.stdout.splitlines()) == 1
    assert "python3 -m venv" in found.stdout
    assert ("benchmarks.run" if mark == "main-job" else "pytest") in found.stdout


def test_ci_fails_where_a_block_is_gone(tmp_path):
    assert block("main-job", "# nothing\n\n```sh\necho no\n```\n", tmp_path).returncode != 0
    assert block("tests", "<!-- tests -->\n```sh\n```\n", tmp_path).returncode != 0


@pytest.fixture
def derived(tmp_path, monkeypatch):
    """The script .ci/derived.py, looking at a tree of its own."""
    spec = importlib.util.spec_from_file_location("derived", REPOSITORY / ".ci/derived.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PUBLIC", tmp_path / "out")
    monkeypatch.setattr(module, "DOCS", tmp_path / "docs")
    return module


def make_all(derived, out):
    for files in derived.DERIVED.values():
        for name, content in files(derived.read_all(out), out).items():
            write_atomic(out / name, content)


def test_stale_derived_files_are_found(derived, record, written):
    assert derived.stale_files() == []
    out = written([record()])
    records = derived.read_all(out)
    every = [name for files in derived.DERIVED.values() for name in files(records, out)]
    assert [line.split(":")[0] for line in derived.stale_files()] == [
        f"results/public/{name}" for name in every
    ]
    make_all(derived, out)
    assert derived.stale_files() == []
    table = out / "tables/depth_tabletop.md"
    table.write_text(table.read_text().replace("0.5", "0.4"))
    (stale,) = derived.stale_files()
    assert "tables/depth_tabletop.md" in stale
    make_all(derived, out)
    kept = [f"{kind}/x/y.csv" for kind in ("items", "curves", "samples")] + ["expected.csv"]
    left = ["figures/of_old.png", "old.html", "tables/deep/of_old.csv", "tables/of_old.md"]
    for name in kept + left:
        write_atomic(out / name, b"")
    assert derived.stale_files() == [
        f"results/public/{name}: no report makes it, delete it" for name in left
    ]


def test_stale_figures_are_found_by_what_they_show(derived, record, written):
    """Other packing of the same pixels and fonts is no change; another number is."""
    two = [
        record(
            value=value,
            fair={"budget_limit": limit},
            config={"budget": {"flops": limit}},
            budget=record().budget.model_copy(update={"limit": limit}),
        )
        for value, limit in ((0.5, 1e13), (0.4, 2e13))
    ]
    out = written(two)
    make_all(derived, out)
    assert derived.stale_files() == []
    pdf, png = (out / f"figures/answer.{ending}" for ending in ("pdf", "png"))
    with Image.open(png) as image:
        image.load()
    image.save(png, compress_level=1)
    pdf.write_bytes(repacked(pdf.read_bytes()))
    assert derived.stale_files() == []
    image.putpixel((3, 3), (0, 0, 0, 255))
    image.save(png)
    pdf.write_bytes(repacked(pdf.read_bytes(), lambda text: text.replace(b" re", b" rx", 1)))
    (out / "figures/of_old.png").write_bytes(b"")
    names = [line.split(":")[0].split("/")[-1] for line in derived.stale_files()]
    assert names == [pdf.name, png.name, "of_old.png"]


def repacked(pdf, change=lambda text: text):
    """The PDF with its streams packed less tightly, and changed."""
    return re.sub(
        rb"(/FlateDecode.*?stream\n)(.*?)(\nendstream)",
        lambda m: m[1] + zlib.compress(change(zlib.decompress(m[2])), 1) + m[3],
        pdf,
        flags=re.DOTALL,
    )


def test_a_stale_page_of_published_numbers_is_found(derived, tmp_path):
    assert len(derived.stale_docs()) == 1, "a page that is missing is stale"
    page = tmp_path / "docs/published.md"
    page.parent.mkdir()
    page.write_text(derived.published_files()["published.md"], "utf-8")
    assert derived.stale_docs() == []
    page.write_text(page.read_text("utf-8").replace("1.162", "1.163"), "utf-8")
    (stale,) = derived.stale_docs()
    assert "docs/published.md" in stale


def test_stale_blocks_of_the_readme_are_found(derived, tmp_path):
    (tmp_path / "table.md").write_text("| 0.5 |\n")
    text = "# T\n\n<!-- file: table.md -->\n| {} |\n<!-- end of file -->\n"
    (tmp_path / "README.md").write_text(text.format(0.5))
    assert derived.stale_blocks() == []
    (tmp_path / "README.md").write_text(text.format(0.4))
    assert len(derived.stale_blocks()) == 1


WINGS = "codecs config data match metrics records report tabletop tasks".split()
SHELLS = [f"benchmarks/{wing}/shell.py" for wing in WINGS] + ["crossflow/problem.py"]
# The contracts name modules, which have to exist in the tree they are checked on.
SHELLS += [f"benchmarks/{path.name}" for path in (REPOSITORY / "benchmarks").glob("*.py")]
BREACHES = {
    "crossflow/library.py": "import pandas\nimport crossflow.problem\n",
    "crossflow/problem.py": "import crossflow.library\n",
    "baselines/method.py": "import benchmarks.harness\n",
    "benchmarks/report/command.py": "import benchmarks.harness\n",
    "benchmarks/harness.py": "import torch\n",
    "benchmarks/tasks/task.py": "import hydra\n",
    "benchmarks/records/record.py": "import benchmarks.match.shell\n",
}


def test_import_contracts_can_break(tmp_path):
    """A tree with one breach of each contract: all are reported."""
    files = dict.fromkeys(SHELLS, "") | BREACHES
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    contracts = (REPOSITORY / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(contracts)
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Contracts: 0 kept, 6 broken." in done.stdout
