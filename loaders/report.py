"""What a load tells: progress on a terminal while it runs, a report at the end."""

import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TextIO

from pricegrid.loaders.gates.diff import diff_text
from pricegrid.loaders.gates.gates import Gate
from pricegrid.loaders.gates.sample_change import SampleChange
from pricegrid.loaders.validate.causes import RootCause
from pricegrid.loaders.validate.tables import Dataset

_log = logging.getLogger(__name__)
_KIBIBYTE = 1024
_CAUSES_SHOWN: Final = 10


@dataclass(slots=True)
class Progress:
    """Times the phases of a job and, on a terminal only, says which one runs."""

    stream: TextIO
    seconds: dict[str, float] = field(default_factory=dict)

    def fail(self, words: str) -> None:
        """Why the load is refused or can't be done."""
        if _log.isEnabledFor(logging.INFO):
            _log.error("%s", words)
        else:
            print(f"pricegrid load: {words}", file=self.stream)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """One phase; what it takes is added to `seconds`."""
        self.say(f"{name} ...")
        begin = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - begin
            self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 3)
            self.say(f"{name} done in {took:.1f} s")

    def say(self, words: str) -> None:
        """A line of the log if there is one, else if somebody is watching."""
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s", words.strip())
        elif self.stream.isatty():
            print(words, file=self.stream, flush=True)


@dataclass(slots=True)
class LoadReport:
    """The outcome of one load; `as_json` is what `--json` prints."""

    dataset: str
    store: str
    delta: bool = False
    check: bool = False
    """Whether all was done but to publish."""
    published: bool = False
    refused: bool = False
    """By a gate; with `check`: it would be."""
    forced: bool = False
    causes: list[RootCause] = field(default_factory=list)
    """Why rows were rejected, the cause of most first."""
    snapshot_version: str | None = None
    previous_version: str | None = None
    time_zone: str = "UTC"
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    files: dict[str, dict[str, object]] = field(default_factory=dict)
    """How the file of each table is written."""
    notations: list[str] = field(default_factory=list)
    """The files that are not comma-separated UTF-8 with decimal points and ISO dates, in words."""
    warnings: list[str] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    rejects: dict[str, str] = field(default_factory=dict)
    """The file with the rejected rows of each table that has any."""
    sample: SampleChange | None = None
    """How answers to the running snapshot's sample differ; None: not asked."""
    diff: dict[str, Any] | None = None
    """With `check`: what would change."""
    size_bytes: int = 0
    """Of the files of the new snapshot..."""
    shared_bytes: int = 0
    """...and how many of them another snapshot has too, so that they are stored once."""
    pruned: list[str] = field(default_factory=list)
    """Older snapshots that were removed."""
    pushed_to: str = ""
    """The object storage that has the snapshot; '' for none."""
    pushed_bytes: int = 0
    """What it had to be sent."""
    push_error: str = ""
    """Why it does not have it though it should."""
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0

    def describe(self, dataset: Dataset) -> None:
        """Takes over counts and warnings."""
        self.time_zone = dataset.time_zone
        self.warnings = list(dataset.warnings)
        self.causes = list(dataset.causes)
        self.files = {name: dialect.as_json() for name, dialect in dataset.dialects.items()}
        self.notations = [dialect.text for dialect in dataset.dialects.values() if dialect.text]
        self.tables = {name: asdict(counts) for name, counts in dataset.counts.items()}

    def finish(self, seconds: dict[str, float]) -> None:
        """Takes over the times, and the most memory this process has had."""
        self.seconds = {**seconds, "total": round(sum(seconds.values()), 3)}
        self.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBIBYTE

    def as_json(self) -> dict[str, object]:
        """JSON-able."""
        sample = None if self.sample is None else {**asdict(self.sample), "text": self.sample.text}
        return {**asdict(self), "sample": sample}

    def as_text(self) -> str:
        """For people."""
        lines = [cause.text for cause in self.causes[:_CAUSES_SHOWN]]
        if len(self.causes) > _CAUSES_SHOWN:
            lines.append(f"and {len(self.causes) - _CAUSES_SHOWN} more causes of rejects: see --json")
        lines.append(f"{'table':<16}{'rows':>12}{'accepted':>12}{'rejected':>12}{'repeated':>12}")
        for name, c in self.tables.items():
            numbers = (c["rows"], c["accepted"], c["rejected"], c["repeated"])
            lines.append(f"{name:<16}" + "".join(f"{number:>12,}" for number in numbers))
        lines += [f"read {words}" for words in self.notations]
        lines += [f"warning: {words}" for words in self.warnings]
        lines += [f"rejected rows of {name}: {path}" for name, path in self.rejects.items()]
        for gate in self.gates:
            limit = f" (limit {gate.limit} %)" if gate.limit is not None else ""
            lines.append(f"gate {gate.name}: {'passed' if gate.passed else 'FAILED'}{limit}: {gate.detail}")
        if self.diff is not None:
            lines += [f"against {self.diff['old']}:", *diff_text(self.diff)]
        lines.append("seconds: " + ", ".join(f"{name} {took:.2f}" for name, took in self.seconds.items()))
        return "\n".join([*lines, *self._outcome()])

    def _outcome(self) -> list[str]:
        if not self.published:
            done = "checked, not published" if self.check else "not published"
            would = (
                ""
                if not self.check
                else ": it would be refused"
                if self.refused
                else ": it would be published"
            )
            return [f"{done}{would}; the running snapshot stays: {self.previous_version or 'none'}"]
        forced = " (forced)" if self.forced else ""
        shared = f", of which {self.shared_bytes:,} are those of another snapshot, stored once"
        sizes = f"{self.size_bytes:,} bytes" + (shared if self.shared_bytes else "")
        lines = [f"published snapshot {self.snapshot_version}{forced}: {sizes}"]
        if self.pruned:
            lines.append(f"removed {len(self.pruned)} older snapshots: {', '.join(self.pruned)}")
        if self.pushed_to:
            lines.append(f"pushed to {self.pushed_to}: {self.pushed_bytes:,} bytes were missing there")
        return lines
