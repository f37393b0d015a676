"""Commands, version and changelog are what the documents say."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.profiles import FAST_MIN, HELPERS, examples, is_left_out, needs

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PARTS = {"dead-code", "lint-protos"}
"""Of `make lint`, for hooks; help does not list them."""
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_help_lists_every_target_with_what_it_does():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    listed = re.findall(r"^  make ([a-z-]+) +\S+ \S+", shown, re.MULTILINE)
    assert sorted(listed) == sorted(TARGETS - PARTS)


def test_every_target_is_one_even_if_there_is_a_file_of_its_name():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)

    assert set(phony.split()) == TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_has_make_do_is_there(document):
    text = document.read_text(encoding="utf-8")
    fenced = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    code = "\n".join(
        [*fenced, *re.findall(r"`([^`\n]+)`", text), *re.findall(r"^    (.*)$", text, re.MULTILINE)]
    )

    told = re.findall(r"(?:^|[ ;&])make ([a-z][a-z-]*)", code, re.MULTILINE)
    assert set(told) - TARGETS == set()


def test_hooks_run_what_the_project_has_and_fetch_nothing():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))

    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        program, *words = hook["entry"].split()
        if program == "make":
            assert words[-1] in TARGETS
        else:
            assert program == "git" or (ROOT / program).exists(), program


def releases() -> dict[str, str]:
    """What each heading of the changelog has below it, the newest first."""
    parts = re.split(r"^## (.*)\n", CHANGELOG, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_version_is_the_newest_of_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

    coming, newest, *_ = releases()
    assert coming == "Unreleased"
    assert re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", newest)


@pytest.mark.parametrize("release", releases())
def test_an_entry_of_the_changelog_is_one_sentence_under_a_known_heading(release):
    lines = [line for line in releases()[release].splitlines() if line]

    headings = [line.removeprefix("### ") for line in lines if line.startswith("#")]
    entries = [line for line in lines if not line.startswith("#")]
    assert set(headings) <= SECTIONS
    assert len(headings) == len(set(headings))
    faults = [
        line for line in entries if not re.fullmatch(r"- [^\n]*[^.]\.", line) or re.search(r"\. [A-Z]", line)
    ]
    assert faults == []


def test_tests_are_marked_by_the_helpers_that_their_module_uses():
    found = {
        name: needs(importlib.import_module(f"tests.{name}"))
        for name in (
            "test_habits",
            "test_cache_faults",
            "test_live_server",
            "test_live_positions",
            "tryton_server",
        )
    }

    assert found == {
        "test_habits": set(),
        "test_cache_faults": {"redis"},
        "test_live_server": {"redis", "server"},
        "test_live_positions": set(),  # it waits with a helper, and starts nothing that answers
        "tryton_server": {"tryton"},
    }


def test_the_helpers_are_there():
    assert [name for name in HELPERS if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []


@pytest.mark.parametrize(
    ("fast", "long", "ordinary", "tried"),
    [(True, False, 60, 5), (True, False, 10, FAST_MIN), (False, False, 60, 60), (False, True, 60, 5_000)],
)
def test_profiles_try_fewer_or_more_cases(monkeypatch, fast, long, ordinary, tried):
    monkeypatch.setattr("tests.profiles.FAST", fast)
    monkeypatch.setattr("tests.profiles.LONG", long)

    assert examples(ordinary, long=5_000) == tried
    assert examples(ordinary) == (tried if fast else ordinary)


@pytest.mark.parametrize(
    ("taken", "chosen", "is_out"),
    [
        ("from tests.servers import Server, until", "not slow and not server", True),
        ("from tests.servers import (\n    PORT,\n    serving,\n)", "not server", True),
        ("from tests.servers import until", "not server", False),
        ("from tests.servers import PORT", "not server", False),
        ("from tests.servers import Server", "not redis", False),
        ("from tests.servers import Server", "server", False),
        ("from tests.servers import Server", "not server or slow", False),
        ("from tests.servers import Server", "", False),
    ],
)
def test_a_module_is_not_imported_if_all_its_tests_are_left_out(tmp_path, taken, chosen, is_out):
    module = tmp_path / "test_some.py"
    module.write_text(f"import pytest\n\n{taken}\n")

    assert is_left_out(module, chosen) == is_out
