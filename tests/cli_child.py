"""Runs commands one after another in a process of their own, as a user's shell would one each: what they print.

Standard input is a JSON object: `commands`, and `absent`, packages that are not installed there. Standard output is one
too: [exit code, output, errors] of each command, and the packages that were imported.
"""

import contextlib
import importlib.abc
import io
import json
import sys


class Absent(importlib.abc.MetaPathFinder):
    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def run(commands):
    from pricegrid.service.cli.main import main

    for words in commands:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
        yield code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.meta_path.insert(0, Absent(asked["absent"]))
    answers = list(run(asked["commands"]))
    real = [name for name, module in sys.modules.items() if getattr(module, "__file__", None)]
    print(json.dumps({"answers": answers, "imported": sorted({name.partition(".")[0] for name in real})}))
