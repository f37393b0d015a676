"""The rules in `docs/pricing.md` and `docs/availability.md` are what the code does, and what is cited is there.

Every rule has a section with its reason, worked examples that both implementations answer as the page says, and links
to its reference, its kernel and its table test. Whatever code and documents cite, rules, files and sections, exists.
"""

import ast
import re
import subprocess
import tokenize
from collections.abc import Callable, Collection
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

from pricegrid import v1
from pricegrid.loaders.tables import TABLES
from tests.page_answers import check_availability, check_prices
from tests.page_examples import Example, Rule, examples_of, links_of, rules_of
from tests.page_stories import check_story

ROOT = Path(__file__).parent.parent
PRICING = (ROOT / "docs" / "pricing.md").read_text(encoding="utf-8")
AVAILABILITY = (ROOT / "docs" / "availability.md").read_text(encoding="utf-8")
RULES = [*rules_of(PRICING), *rules_of(AVAILABILITY)]
BUILT = [rule for rule in RULES if not rule.is_planned]
NAMES = {f"P{number}" for number in range(1, 21)} | {f"A{number}" for number in range(1, 13)}
RULE = re.compile(r"\b([PA])(\d{1,2})(?:\s?(?:-|–|to)\s?\1(\d{1,2}))?\b")
GENERATED = ("proto/", "pricegrid/v1/")
FOLDERS = ("atp", "cache", "erp", "loaders", "pricing_engine", "service", "tests")

by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
each_built = pytest.mark.parametrize("rule", BUILT, ids=lambda rule: rule.name)


@cache
def tracked() -> list[str]:
    """Every text of the repository that may cite something, by its path from the root."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    ends = (".py", ".md", ".proto", ".toml", ".ini")
    return [path for path in listed.stdout.splitlines() if path.endswith(ends) and (ROOT / path).exists()]


@cache
def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def cited_rules(text: str) -> set[str]:
    """The rules that a text names, ranges such as P4-P9 included."""
    found: set[str] = set()
    for letter, first, last in RULE.findall(text):
        found |= {f"{letter}{number}" for number in range(int(first), int(last or first) + 1)}
    return found


# ---- the pages


def test_every_rule_has_one_section():
    assert sorted(rule.name for rule in RULES) == sorted(NAMES)


@by_name
def test_a_rule_says_why(rule: Rule):
    assert "*Why.*" in rule.text, "every rule has its reason"


@each_built
def test_a_rule_has_a_worked_example(rule: Rule):
    assert [example for example in EXAMPLES if example.rule == rule.name]


@each_built
def test_a_rule_links_to_its_code_and_its_table(rule: Rule):
    links = {label: (path, symbol) for label, path, symbol in links_of(rule.text)}
    decides = set() if "There is no kernel" in rule.text else {"Kernel", "Code"} & set(links)
    assert set(links) == {"Reference", "Table test", *decides}
    assert len(decides) == ("There is no kernel" not in rule.text), "one kernel, or one place of the product"
    missing = [link for link in links.values() if not has_symbol(*link)]
    assert missing == []
    table, _ = links["Table test"]
    assert rule.name in cited_rules(text_of(table)), f"{table} does not name {rule.name}"


def has_symbol(path: str, symbol: str) -> bool:
    """Whether a file of the repository defines a function, class, method or constant of that name."""
    if not (ROOT / path).is_file():
        return False
    body: list[ast.stmt] = ast.parse(text_of(path)).body
    for name in symbol.split("."):
        named = [node for node in body if name in names_of(node)]
        if not named:
            return False
        body = getattr(named[0], "body", [])
    return True


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {each.id for each in node.targets if isinstance(each, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def test_what_is_not_built_is_not_there():
    """As soon as it is, the rule needs its example and its links."""
    there = []
    for rule in RULES:
        adds = re.findall(r"`([^`]+)`", rule.text.partition("- Adds:")[2])
        assert bool(adds) == rule.is_planned, rule.name
        there += [f"{rule.name}: {name}" for name in adds if is_known(name)]
    assert there == []


def is_known(name: str) -> bool:
    """Whether a table, `table.column`, `table.column=word` or `pricegrid.v1.Message.field` is part of the product."""
    if name.startswith("pricegrid.v1."):
        message, field = name.removeprefix("pricegrid.v1.").split(".")
        return field in getattr(v1, message).DESCRIPTOR.fields_by_name
    table, _, column = name.partition(".")
    if table not in TABLES:
        assert column == "", f"there is no table {table}"
        return False
    column, _, word = column.partition("=")
    specs = {each.name: each for each in TABLES[table].columns}
    if not word:
        return not column or column in specs
    return word in specs[column].words


def test_a_known_name_is_found():
    """Else the test above could never fail."""
    for name in ("price_entries.uom", "layers.mode=lowest", "pricegrid.v1.PriceLine.sku", "kits"):
        assert is_known(name)


# ---- the worked examples

EXAMPLES = [*examples_of(PRICING), *examples_of(AVAILABILITY)]


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.rule.startswith("P")], ids=str)
def test_a_price_is_what_the_page_says(example: Example, tmp_path: Path):
    check_prices(example, tmp_path)


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.rule.startswith("A")], ids=str)
def test_availability_is_what_the_page_says(example: Example, tmp_path: Path):
    if any(kind == "story" for kind, _ in example.questions):
        check_story(example, tmp_path)
    else:
        check_availability(example, tmp_path)


# ---- citations


@each_built
def test_a_rule_is_cited_by_a_test_of_its_own(rule: Rule):
    """This file and the pages don't count."""
    tests = [
        path for path in tracked() if path.startswith("tests/test_") and path != "tests/test_docs_rules.py"
    ]
    assert any(rule.name in cited_rules(text_of(path)) for path in tests)


def suspects(wrong: Callable[[str, str], Collection[str]]) -> list[str]:
    """The files of whose whole text something is wrong: to take the words out of all takes seconds."""
    return [path for path in tracked() if wrong(path, text_of(path))]


@cache
def words_of(path: str) -> str:
    """What a file says in words: of Python its comments and docstrings, since names of other things look alike."""
    if not path.endswith(".py"):
        return text_of(path)
    tokens = tokenize.generate_tokens(StringIO(text_of(path)).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, documented)]
    return "\n".join([*comments, *(ast.get_docstring(node) or "" for node in nodes)])


def test_cited_rules_exist():
    def missing(path: str, text: str) -> set[str]:
        return cited_rules(text) - NAMES

    assert {path: found for path in suspects(missing) if (found := missing(path, words_of(path)))} == {}


def prose_of(path: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)


def anchors_of(path: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def headings_of(path: str) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE))


def test_cited_pages_and_their_sections_exist():
    """Code cites a page of `docs`, and behind a comma a section of it in quotes, over the end of a line too."""
    wrong = []
    for path in tracked():
        flat = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", " ", text_of(path))
        for page, section in re.findall(r"\b(docs/[\w-]+\.md)`?(?:, \"([^\"]+)\")?", flat):
            if not (ROOT / page).is_file():
                wrong.append(f"{path}: {page}")
            elif section and section not in headings_of(page):
                wrong.append(f'{path}: {page}, "{section}"')
    assert wrong == []


def test_links_between_documents_lead_somewhere():
    wrong = []
    for path in [path for path in tracked() if path.endswith(".md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(path)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            found = ((ROOT / path).parent / name).resolve() if name else ROOT / path
            if not found.exists() or (anchor and anchor not in anchors_of(str(found.relative_to(ROOT)))):
                wrong.append(f"{path}: {target}")
    assert wrong == []


def test_named_files_exist():
    """Paths in backticks, with `#` and a name behind or not; CHANGELOG speaks of other times."""
    pattern = re.compile(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|proto|toml))(?:#([\w.]+))?`")

    def wrong(path: str, text: str) -> list[str]:
        if path == "CHANGELOG.md" or path.startswith(GENERATED):
            return []
        return [
            f"{path}: {name}#{symbol}".removesuffix("#")
            for name, symbol in pattern.findall(text)
            if not any((base / name).exists() for base in (ROOT, (ROOT / path).parent))
            or (symbol and not has_symbol(name, symbol))
        ]

    assert [found for path in suspects(wrong) for found in wrong(path, words_of(path))] == []


def test_named_modules_exist():
    """`atp.live.positions` and `cache.protocol.StateCache` in backticks."""
    pattern = re.compile(rf"`((?:pricegrid\.)?(?:{'|'.join(FOLDERS)})(?:\.\w+)+)`")

    def wrong(path: str, text: str) -> list[str]:
        names = [] if path == "CHANGELOG.md" else pattern.findall(text)
        return [
            f"{path}: {name}" for name in names if not is_module(name.removeprefix("pricegrid.").split("."))
        ]

    assert [found for path in suspects(wrong) for found in wrong(path, words_of(path))] == []


def is_module(names: list[str]) -> bool:
    """Whether these lead to a folder, a module, or a name that a module defines."""
    for at in range(len(names), 0, -1):
        base = "/".join(names[:at])
        if (ROOT / base).is_dir():
            return at == len(names) or has_symbol(f"{base}/__init__.py", ".".join(names[at:]))
        if (ROOT / f"{base}.py").is_file():
            return at == len(names) or has_symbol(f"{base}.py", ".".join(names[at:]))
    return False


def test_nothing_cites_what_the_repository_does_not_hold():
    """A reader has these pages, and no other design."""
    paths = [
        path for path in tracked() if not path.startswith(GENERATED) and path != "tests/test_docs_rules.py"
    ]
    found = re.compile(r"\bdesign (?:sections?|rules?|[PA]\d)|in the design\b|the design leaves")
    assert {path: found.findall(text_of(path)) for path in paths if found.search(text_of(path))} == {}
