"""The reference of the command is what its parsers say."""

from pricegrid.service.cli.reference import PLACE, reference


def test_the_reference_is_current(monkeypatch):
    for variable in ("PRICEGRID_ADDRESS", "PRICEGRID_STORE"):
        monkeypatch.delenv(variable, raising=False)

    assert PLACE.read_text(encoding="utf-8") == reference(), (
        "run `python -m pricegrid.service.cli.reference` and commit docs/cli.md"
    )
