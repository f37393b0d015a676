"""The messages that users can see, read out of the code: what errors say, why rows are rejected, what is logged.

A message is a template: `…` stands for what differs. Only what is written where it is raised is found; texts that come
from elsewhere (another error, an operating system) are not ours to explain.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
GAP = "…"
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
LOAD_ERRORS = frozenset(
    {
        "DatasetError",
        "LoadError",
        "LoaderBusyError",
        "StorageError",
        "PublishedMeanwhileError",
        "SnapshotError",
        "NoSnapshotError",
        "SnapshotCorruptError",
        "SnapshotVersionError",
        "SnapshotUnsignedError",
        "SnapshotReplayedError",
        "SigningKeyError",
    }
)
COMMAND_ERRORS = frozenset(
    {"UsageError", "ServeError", "UnavailableError", "TraceOptionsError", "argparse.ArgumentTypeError"}
)
REASONS = {
    "said": 0,
    "quoted": 1,
    "rule": 1,
    "_wrong_date": 1,
    "_BadCellError": 0,
    "pl.format": 0,
    "_reject_edges": 2,
}
"""Where a reason stands among the arguments of what makes one."""
WARNINGS = {"warn_rows": 2, "warn_values": 2, "append": 0}
LOGGED = frozenset({"warning", "error", "exception"})


def load_errors() -> set[str]:
    """What stops a load or the opening of a snapshot."""
    return set(_raised(LOAD_ERRORS, "loaders"))


def command_errors() -> set[str]:
    """What a command says to its user before it asks."""
    return set(_raised(COMMAND_ERRORS, "service", "loaders"))


def erp_config_errors() -> set[str]:
    """What is wrong in the configuration of an ERP."""
    return set(_raised(frozenset({"ErpConfigError"}), "erp"))


def redis_url_errors() -> set[str]:
    """What is wrong in the URL of a Redis."""
    return set(_raised(frozenset({"ValueError"}), "cache/redis_options.py", "service/cli/redis_url.py"))


def reject_reasons() -> set[str]:
    """Why a row is rejected."""
    found = set()
    for path, scope, node in _nodes("loaders/validate", "loaders/read"):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in REASONS:
            prefix = f'"{GAP}" ' if name in {"quoted", "rule", "_wrong_date", "_reject_edges"} else ""
            if len(node.args) > REASONS[name]:
                found |= {prefix + text for text in _texts(node.args[REASONS[name]], scope)}
        elif path.name == "csv_files.py" and isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == "reason" for each in targets):
                found |= set(_texts(node.value, scope))
    return {text.strip() for text in found if re.search(r"[a-z]{3}", text)}


def load_warnings() -> set[str]:
    """What a load tells, and does not reject."""
    found = set()
    for _, scope, node in _nodes("loaders/validate", "loaders/read"):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name = node.func.attr
        is_list = name == "append" and ast.unparse(node.func.value).endswith("warnings")
        if (name in WARNINGS and name != "append") or is_list:
            found |= set(_texts(node.args[WARNINGS[name]], scope))
    return {text for text in found if re.search(r"[a-z]{3}", text)}


def logged() -> set[str]:
    """What the server logs as a warning or an error."""
    found = set()
    for _, _, node in _nodes("service", "cache", "erp"):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LOGGED
            and ast.unparse(node.func.value) == "_log"
        ):
            found |= {re.sub(r"%(\.\d)?[sdrf]", GAP, text) for text in _texts(node.args[0], None)}
    return found


def _raised(errors: frozenset[str], *places: str) -> Iterator[str]:
    for _, scope, node in _nodes(*places):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func)
            if (name in errors or name.rpartition(".")[2] in errors) and node.exc.args:
                yield from (text for text in _texts(node.exc.args[0], scope) if re.search(r"[a-z]{3}", text))


def _nodes(*places: str) -> Iterator[tuple[Path, Scope, ast.AST]]:
    """Every node with the function that it stands in."""
    for place in places:
        start = ROOT / place
        for path in sorted(start.rglob("*.py")) if start.is_dir() else [start]:
            yield from ((path, scope, node) for scope, node in _of_file(path))


@cache
def _of_file(path: Path) -> list[tuple[Scope, ast.AST]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return list(_inside(tree, tree))


def _inside(node: ast.AST, scope: Scope) -> Iterator[tuple[Scope, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield scope, child
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        yield from _inside(child, inner)


def _texts(node: ast.expr, scope: Scope | None) -> list[str]:
    """The templates that an expression may give; names are looked up in the function."""
    match node:
        case ast.Constant(value=str(text)):
            return [text.replace("{}", GAP)]
        case ast.JoinedStr():
            parts = [part.value if isinstance(part, ast.Constant) else GAP for part in node.values]
            return [re.sub(f"{GAP}+", GAP, "".join(map(str, parts)).replace("{}", GAP))]
        case ast.IfExp():
            return [*_texts(node.body, scope), *_texts(node.orelse, scope)]
        case ast.BinOp(op=ast.Add()):
            lefts, rights = _texts(node.left, scope) or [GAP], _texts(node.right, scope) or [GAP]
            return [left + right for left in lefts for right in rights]
        case ast.Name(id=name) if scope is not None:
            return [
                text
                for each in ast.walk(scope)
                if isinstance(each, ast.Assign)
                and any(isinstance(target, ast.Name) and target.id == name for target in each.targets)
                for text in _texts(each.value, None)
            ]
    return []
