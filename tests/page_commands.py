"""Runs the commands that README and docs show, as written: `python -m tests.page_commands [--fill] [PAGE ...]`.

`tests.page_blocks` says what a block of commands looks like.

The blocks of a page are run by one shell, in order, in a copy of the repository's files; pages that are not `ALONE`
share one, and a server of the tutorial's shop. Ports are replaced by free ones, and nothing else. In what is printed a
line `...` stands for any lines, dates are compared by their distance from the day that the page was printed on, and
what differs from run to run (instants, versions, ids, ages, sizes, times) by its form alone. `--fill` writes what was
printed into empty `text` blocks.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from tests.erp_server import SmallErp, serving
from tests.page_blocks import ROOT, SHOP, Block, blocks_of, page_text, pages
from tests.ports import free_port
from tests.redis_servers import executable as redis_executable
from tests.servers import until

TUTORIAL = "docs/tutorial.md"
ALONE = ("README.md", TUTORIAL, "docs/operate.md")
"""Pages with a shell, a store and servers of their own."""
PORTS = ("50051", "50052", "9464", "6379")
"""The ports that pages use."""
ERP_PRICES = {("", "DRILL-8"): "4.90", ("C-100", "DRILL-8"): "4.29"}
"""What the ERP of `erp.toml` says, as the tutorial's books do."""
TIMEOUT_S = 600.0

PRINTED_ON = re.compile(r"<!-- printed on (\d{4}-\d\d-\d\d) -->")
DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")
FORMS = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\b\d{4}-\d\d-\d\d[T ][\d:.,]+Z?", "TIME"),
        (r"\b\d{8}T\d{6}Z-[0-9a-f]{8}\b", "VERSION"),
        (r"\b[RD][0-9a-f]{15,24}\b", "ID"),
        (r"\b(FRESH|STALE) [\d:]+", r"\1 AGE"),
        (r"\b\d+ s old\b", "AGE old"),
        (r"\b[\d,]+ bytes(, (of which )?[\d,]+)?", "BYTES"),
        (r"\b(worker|writer) \d+\b", r"\1 PID"),
        (r"^seconds: .*", "seconds: TIMES"),
        (r"^(pricegrid_\w+_seconds) [\d.]+$", r"\1 SECONDS"),
        (r"[ \t]+", " "),
    )
)
"""What differs from run to run, and what stands for it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a block."""

    block: Block
    status: int | None
    """None: the shell ended before it."""
    printed: str

    def complaint(self, printed_on: date, today: date) -> str:
        """What is not as the page says; empty if all is."""
        if self.status is None:
            return f"{self.block}: was not reached"
        if self.status != self.block.exits:
            return f"{self.block}: ended with {self.status}, not {self.block.exits}\n{self.block.text}{self.printed}"
        if self.block.printed is None:
            return ""
        expected, actual = normal(self.block.printed, printed_on), normal(self.printed, today)
        if is_elided(expected, actual):
            return ""
        return "\n".join([f"{self.block}: prints otherwise", *expected, "--- but printed", *actual])


def normal(printed: str, day: date) -> list[str]:
    """Lines in a form in which two runs are equal; dates as days after `day`."""
    lines = []
    for line in printed.splitlines():
        told = line
        for pattern, form in FORMS[:1]:
            told = pattern.sub(form, told)
        told = DATE.sub(lambda found: f"day{(date.fromisoformat(found[0]) - day).days:+d}", told)
        for pattern, form in FORMS[1:]:
            told = pattern.sub(form, told)
        if told.strip():
            lines.append(told.strip())
    return lines


def is_elided(expected: Sequence[str], actual: Sequence[str]) -> bool:
    """Whether the lines are those expected, `...` standing for any number of them."""
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(is_elided(expected[1:], actual[at:]) for at in range(len(actual) + 1))
    return bool(actual) and expected[0] == actual[0] and is_elided(expected[1:], actual[1:])


def printed_on(page: str) -> date:
    """The day on which the outputs of a page were printed."""
    said = PRINTED_ON.search(page_text(page))
    return date.fromisoformat(said[1]) if said else today()


def today() -> date:
    """The day of the tutorial's tables."""
    return datetime.now(UTC).date()


def group_of(page: str) -> str:
    """Pages of one group share a shell."""
    return page if page in ALONE else SHOP


def groups() -> dict[str, list[Block]]:
    """The blocks that each shell runs; the tutorial's shop is made first where pages ask it."""
    found: dict[str, list[Block]] = {}
    for page in pages():
        found.setdefault(group_of(page), []).extend(block for block in blocks_of(page) if not block.not_run)
    found[SHOP] = [block for block in blocks_of(TUTORIAL) if block.is_of_shop] + found.get(SHOP, [])
    return found


def run(blocks: Sequence[Block], directory: Path, erp: SmallErp) -> list[Ran]:
    """Runs blocks in one shell, in a copy of the repository's files in a new directory."""
    checkout, outputs = directory / "pricegrid", directory / "printed"
    copy_files(checkout)
    erp.config(checkout)
    outputs.mkdir()
    ports = free_ports()
    script = directory / "commands.sh"
    script.write_text(shell_script(blocks, outputs, ports), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PRICEGRID_A")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{Path(redis_executable()).parent}:{os.environ['PATH']}",
        "HOME": str(directory),
        "COLUMNS": "200",
    }
    shell = subprocess.Popen(["bash", str(script)], cwd=checkout, env=environment, start_new_session=True)
    try:
        shell.wait(TIMEOUT_S)
    finally:
        end_all(shell.pid)
        shell.wait()
    return [read_run(block, outputs / str(number), ports) for number, block in enumerate(blocks)]


def run_groups(chosen: dict[str, list[Block]]) -> Iterator[tuple[str, list[Ran]]]:
    """Runs the shells side by side: most of the time they wait for servers."""
    erp = SmallErp()
    erp.prices = ERP_PRICES
    with (
        serving(erp),
        ThreadPoolExecutor(len(chosen)) as pool,
        tempfile.TemporaryDirectory(prefix="pricegrid-pages-") as place,
    ):
        running = {}
        for number, (name, blocks) in enumerate(chosen.items()):
            directory = Path(place) / str(number)
            directory.mkdir()
            running[name] = pool.submit(run, blocks, directory, erp)
        yield from ((name, future.result()) for name, future in running.items())


def end_all(session: int) -> None:
    """Ends what the shell started and left running."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(session, number)
            until(lambda: not is_alive(session), "the shell's processes end")
        except ProcessLookupError:
            return


def is_alive(session: int) -> bool:
    """Whether one of its processes is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def copy_files(checkout: Path) -> None:
    """What git tracks, or would, as it lies here; the environment is this one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, checkout / name
        if (source.is_dir() and not source.is_symlink()) or not os.path.lexists(source):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    (checkout / ".venv").symlink_to(Path(sys.executable).parent.parent)


def free_ports() -> dict[str, str]:
    """A free port for each that pages use."""
    found: set[int] = set()
    while len(found) < len(PORTS):
        found.add(free_port())
    return dict(zip(PORTS, map(str, found), strict=True))


def shell_script(blocks: Sequence[Block], outputs: Path, ports: dict[str, str]) -> str:
    """All blocks in order; each notes how it ended, and the shell ends with the first that ends otherwise."""
    parts = ["set -E"]
    for number, block in enumerate(blocks):
        text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: ports[found[1]], block.text)
        if block.kind == "python":
            text = f"python - << 'END OF BLOCK'\n{text}END OF BLOCK\n"
        place = outputs / str(number)
        parts += [
            f"exec > '{place}' 2>&1 < /dev/null",
            f"trap 'echo $? > {place}.status' EXIT",
            "set +e" if block.exits else "set -e",
            f"{text.rstrip()}",
            "pages_status=$?; set +e",
            f"echo $pages_status > '{place}.status'",
            f"[ $pages_status = {block.exits} ] || exit $pages_status",
        ]
    return "\n".join([*parts, "trap - EXIT", ""])


def read_run(block: Block, place: Path, ports: dict[str, str]) -> Ran:
    """What a block left."""
    status = place.with_name(f"{place.name}.status")
    if not status.exists():
        return Ran(block, None, "")
    printed = place.read_text(encoding="utf-8")
    for name, port in ports.items():
        printed = re.sub(rf"\b{port}\b", name, printed)
    return Ran(block, int(status.read_text()), printed)


def fill(ran: Sequence[Ran]) -> None:
    """Writes what was printed into the empty `text` blocks of the pages."""
    for each in ran:
        if each.block.printed is None or each.block.printed.strip():
            continue
        place = ROOT / each.block.page
        text = place.read_text(encoding="utf-8")
        commands = f"```{each.block.kind}\n{each.block.text}```\n"
        told = re.sub(r"[ \t]+$", "", each.printed, flags=re.MULTILINE).rstrip()
        place.write_text(
            re.sub(
                rf"({re.escape(commands)}\s*```text\n)(```)",
                lambda found, told=told: f"{found[1]}{told}\n{found[2]}",  # type: ignore[misc]
                text,
                count=1,
            ),
            encoding="utf-8",
        )


def main() -> int:
    """Runs all pages, or those that are named; 1 if something is not as they say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="only the shells of these pages")
    parser.add_argument("--fill", action="store_true", help="write what was printed into empty text blocks")
    args = parser.parse_args()
    wanted = {group_of(page) for page in args.pages}
    complaints = []
    for name, ran in run_groups({name: of for name, of in groups().items() if not wanted or name in wanted}):
        print(f"{name}: {len(ran)} blocks")
        if args.fill:
            fill(ran)
        complaints += [text for each in ran if (text := each.complaint(printed_on(each.block.page), today()))]
    for page in pages():
        for block in blocks_of(page):
            if block.not_run:
                print(f"not run: {block}: {block.not_run}")
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
