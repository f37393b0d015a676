"""Profiles of partners: what they may say, and how what is wrong is named."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pricegrid.edi.envelope.answering import acknowledge
from pricegrid.edi.envelope.checking import check
from pricegrid.edi.profile import Party, ProfileError, check_parties, read_profile
from pricegrid.edi.syntax.model import Dialect
from pricegrid.edi.syntax.reading import read
from pricegrid.service.cli.main import main
from tests.edi_files import ORDER, edifact, isa, x12

PROFILE = """
partner = "acme"
version = 3
dialect = "x12"
customer = "C-100"
part_numbers = [{qualifier = "VP", scheme = "sku"}, {qualifier = "UP", scheme = "gtin"}]

[ids]
ours = "ZZ:PRICEGRID"
theirs = "ZZ:PARTNER"

[units]
EA = "EA"
CA = "BOX"
CT = "BOX"

[prices]
currency = "USD"
"""


def profile(text=PROFILE, folder=None):
    path = folder / "acme.toml"
    path.write_text(text, encoding="utf-8")
    return read_profile(path)


def test_a_profile_says_who_the_partner_is_and_what_they_call_things(tmp_path):
    found = profile(folder=tmp_path)

    assert (found.partner, found.version, found.dialect) == ("acme", 3, Dialect.X12)
    assert (found.ours, found.theirs) == (Party("ZZ", "PRICEGRID"), Party("ZZ", "PARTNER"))
    assert found.part_numbers == (("VP", "sku"), ("UP", "gtin"))
    assert dict(found.price_basis) == {"PE": 1, "CA": 1, "HP": 100, "TP": 1000}
    assert (found.standard, found.separators.element, found.book) == ("004010", b"*", "acme")


def test_a_unit_is_written_by_its_first_code_and_has_no_code_by_its_own_letters(tmp_path):
    found = profile(folder=tmp_path)

    assert [found.unit_code(uom) for uom in ("EA", "BOX", "CA", "CASE")] == ["EA", "CA", None, None]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 3", "", "version is missing"),
        ("version = 3", "version = 0", "version is 0, no whole number from 1"),
        ("version = 3", "version = true", "version is True, no whole number from 1"),
        ('"x12"', '"X12"', "dialect is 'X12', not one of x12, edifact"),
        ('partner = "acme"', 'partner = " acme"', "partner is ' acme': blank, or with blanks"),
        ("customer", "costumer", "costumer is no field of a profile"),
        ("[ids]\n", "[ids]\nmine = 1\n", "ids.mine is no field of a profile"),
        ('theirs = "ZZ:PARTNER"', "", "ids.theirs is missing"),
        ('"gtin"', '"ean"', "part_numbers[1].scheme is 'ean', not one of sku, gtin"),
        ('qualifier = "UP"', 'kind = "UP"', "part_numbers[1].qualifier is missing"),
        ('CA = "BOX"', 'CA = ""', "units.CA is '': blank"),
        ('CA = "BOX"', "CA = 1", "units.CA is 1, no text"),
        ("version = 3", 'version = 3\ntime_zone = "Mars/Base"', "time_zone is 'Mars/Base', no time zone"),
        ('currency = "USD"', 'currency = "usd"', "prices.currency is 'usd', no three upper-case"),
        ("[units]", "[price_basis]\nHP = 0\n[units]", "price_basis.HP is 0, no whole number"),
        ("[units]", "[price_basis]\nHP = 1.5\n[units]", "price_basis.HP is 1.5, no whole number"),
        ("[units]", '[out]\nelement = "~"\n[units]', "out has two separators that are the same"),
        ("[units]", '[out]\nelement = "ab"\n[units]', "out.element is 'ab', not one character"),
        ("[units]", '[out]\nterminator = ""\n[units]', "out has two separators that are the same, or none"),
        ("[units]", "units", "acme.toml: "),
    ],
)
def test_what_is_wrong_is_named_by_its_field(tmp_path, old, new, message):
    assert old in PROFILE
    with pytest.raises(ProfileError) as caught:
        profile(PROFILE.replace(old, new), tmp_path)
    assert message in str(caught.value)
    assert "acme.toml" in str(caught.value)


def test_part_numbers_are_needed(tmp_path):
    line = next(line for line in PROFILE.splitlines() if line.startswith("part_numbers"))
    with pytest.raises(ProfileError, match="part_numbers is missing"):
        profile(PROFILE.replace(line, ""), tmp_path)


@pytest.mark.parametrize(
    ("data", "problems", "ta1"),
    [
        (x12(("850", ORDER)), [], b""),
        (x12(("850", ORDER), header=isa(sender="OTHER")[:15]), ["SENDER"], b"*R*006"),
        (x12(("850", ORDER), header=isa(receiver="OTHER")[:15]), ["RECEIVER"], b"*R*009"),
        (x12(("850", ORDER), header=isa(ISA05="01")[:15]), ["SENDER"], b"*R*006"),
        (edifact(("ORDERS", ("BGM+220",))), ["SENDER"], b"+4+23+UNB'"),
    ],
)
def test_an_interchange_must_be_of_the_partner_and_for_us(tmp_path, data, problems, ta1):
    (found,) = check(read(io.BytesIO(data)))

    check_parties(found, profile(folder=tmp_path))

    assert [each.name for each in found.problems] == problems
    assert ta1 in acknowledge(found, datetime(2026, 1, 5, tzinfo=UTC))


def test_the_command_checks_against_the_profile(tmp_path, capsys):
    good, other = tmp_path / "acme.toml", tmp_path / "other.toml"
    good.write_text(PROFILE)
    other.write_text(PROFILE.replace("ZZ:PARTNER", "01:PARTNER"))
    file = tmp_path / "order.edi"
    file.write_bytes(x12(("850", ORDER)))

    assert main(["edi", "check", str(file), "--profile", str(good)]) == 0
    assert main(["edi", "check", str(file), "--profile", str(other)]) == 1
    assert "rejected (is not from this partner)" in capsys.readouterr().out
    assert main(["edi", "check", str(file), "--profile", str(tmp_path / "none.toml")]) == 2


def test_the_profile_of_the_page_is_one(tmp_path):
    page = Path("docs/edi.md").read_text(encoding="utf-8")
    begin = page.index("cat > acme.toml <<'END'\n") + len("cat > acme.toml <<'END'\n")

    found = profile(page[begin : page.index("END\n", begin)], tmp_path)

    assert (found.partner, found.customer, found.unit_code("EA")) == ("acme", "C-100", "EA")
