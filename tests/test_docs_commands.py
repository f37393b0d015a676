"""Every command that README and docs show runs as written, or says why a test can't run it."""

import re
import shlex
from collections import Counter

import pytest

from pricegrid.service.cli.main import COMMANDS, command_parser
from pricegrid.service.cli.parser import options, parsers
from tests.page_blocks import KINDS, blocks_of, page_text, pages
from tests.page_commands import groups, printed_on, run_groups, today

NOT_RUN = {
    "CONTRIBUTING.md": 1,
    "README.md": 1,
    "docs/README.md": 1,
    "docs/api.md": 1,
    "docs/console.md": 1,
    "docs/erp.md": 3,
    "docs/http.md": 1,
    "docs/identity.md": 3,
    "docs/install.md": 2,
    "docs/operate.md": 6,
    "docs/release.md": 2,
    "docs/scale.md": 2,
    "examples/adventureworks/README.md": 4,
    "examples/online_retail/README.md": 1,
}
"""How many blocks of each page are not run; each has its reason in the page."""
PROGRAMS = "pricegrid|python3?|pip|make|node|npm|git|podman|docker|grpcurl|curl|redis-\\w+|mkdir|printf|kill"
OUTPUT_KINDS = {"text", "messages", "toml", "example", "json", "js"}


@pytest.fixture(scope="module")
def ran():
    """What became of the blocks, by the shell that ran them, and on which day."""
    began = today()
    found = dict(run_groups(groups()))
    if today() != began:  # midnight came between: the dates of one run are of two days
        began = today()
        found = dict(run_groups(groups()))
    return found, began


@pytest.mark.slow
@pytest.mark.parametrize("group", groups())
def test_every_command_runs_and_prints_what_the_page_says(ran, group):
    found, day = ran
    complaints = [each.complaint(printed_on(each.block.page), day) for each in found[group]]
    assert "\n\n".join(filter(None, complaints)) == ""
    assert len(found[group]) > 0


def test_what_is_not_run_is_counted_and_has_a_reason():
    left_out = [block for page in pages() for block in blocks_of(page) if block.not_run]
    for block in left_out:
        print(f"{block}: {block.not_run}")
    assert Counter(block.page for block in left_out) == NOT_RUN
    assert [str(block) for block in left_out if len(block.not_run.split()) < 4] == []


@pytest.mark.parametrize("page", pages())
def test_commands_stand_in_blocks_that_are_run(page):
    """Not in indented ones, nor in fences of another kind."""
    prose = re.sub(r"^ *```.*?^ *```$", "", page_text(page), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(rf"^ {{4,}}(?:\. |\(?(?:{PROGRAMS}) ).*$", prose, re.MULTILINE) == []
    kinds = set(re.findall(r"^ *```(\w*)", page_text(page), re.MULTILINE)) - {""}
    assert kinds <= {*KINDS, *OUTPUT_KINDS}


def commands_of(page: str) -> list[str]:
    """All of `pricegrid` that the page shows, in blocks and in prose."""
    text = page_text(page)
    shown = [
        line
        for block in blocks_of(page)
        for line in re.sub(r"\\\n\s*", " ", block.text).splitlines()
        if block.kind == "sh"
    ]
    shown += re.findall(
        r"`(pricegrid [^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    return [
        found
        for line in shown
        for found in re.findall(r"(?:^|\(|\| )\s*(pricegrid [a-z][a-z-]*(?: [^|#)>]*)?)", line)
    ]


@pytest.mark.parametrize("page", [page for page in pages() if page != "docs/cli.md"])
def test_the_options_of_a_command_are_known(page):
    wrong = []
    for command in commands_of(page):
        words = shlex.split(re.sub(r"[\"'$]", "", command))[1:]
        if words[0] not in COMMANDS:
            wrong.append(command)
            continue
        known = {name for each in parsers(command_parser(words[0])) for name in options(each)}
        said = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        if said - known:
            wrong.append(f"{command}: {', '.join(sorted(said - known))}")
    assert wrong == []
