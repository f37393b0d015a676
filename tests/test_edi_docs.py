"""docs/edi.md explains each code that a file can get, and none that there is not."""

import re
from pathlib import Path

from pricegrid.edi.syntax.model import TOLERATED, Code

PAGE = Path("docs/edi.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_fault_of_the_syntax_is_explained():
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| [^|]+ \| (tolerated)? ?\|$", SECTIONS["Faults of the syntax"], re.MULTILINE
    )

    assert dict(rows) == {code.value: "tolerated" if code in TOLERATED else "" for code in Code}
