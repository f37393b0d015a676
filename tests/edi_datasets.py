"""A dataset that a partner's files are imported into, and the partner's profile."""

import csv

from pricegrid.edi.profile import read_profile
from pricegrid.edi.tables.importing import import_file

PROFILE = """
partner = "acme"
version = 1
customer = "C-100"
time_zone = "{zone}"
dialect = "{dialect}"
part_numbers = [
  {{qualifier = "VP", scheme = "sku"}}, {{qualifier = "SA", scheme = "sku"}},
  {{qualifier = "BP", scheme = "customer"}},
  {{qualifier = "UP", scheme = "gtin"}}, {{qualifier = "EN", scheme = "gtin"}},
]
[ids]
ours = "{ours}"
theirs = "{theirs}"
[units]
EA = "PIECE"
CA = "BOX"
PCE = "PIECE"
[price_basis]
PE = 1
CA = 1
HP = 100
TP = 1000
[branches]
"0001" = "MAIN"
"0002" = "NORTH"
[prices]
book = "ACME"
currency = "EUR"
{more}
"""


class EdiWorld:
    def __init__(self, folder):
        self.folder = folder
        self.dataset = folder / "shop"

    def table(self, name, text):
        self.dataset.mkdir(exist_ok=True)
        (self.dataset / f"{name}.csv").write_text(text)

    def bring(self, data, more="", zone="UTC"):
        is_x12 = data.startswith(b"ISA")
        ours, theirs = ("ZZ:PRICEGRID", "ZZ:PARTNER") if is_x12 else ("14:PRICEGRID", "14:PARTNER")
        dialect = "x12" if is_x12 else "edifact"
        text = PROFILE.format(dialect=dialect, ours=ours, theirs=theirs, more=more, zone=zone)
        (self.folder / "acme.toml").write_text(text)
        (self.folder / "in.edi").write_bytes(data)
        profile = read_profile(self.folder / "acme.toml")
        return import_file(self.folder / "in.edi", profile, self.dataset, self.folder / "rejects.csv")

    def rows(self, table="price_entries"):
        with (self.dataset / f"{table}.csv").open(newline="") as stream:
            return [{k: v for k, v in row.items() if v} for row in csv.DictReader(stream)]

    def reasons(self):
        path = self.folder / "rejects.csv"
        if not path.exists():
            return []
        with path.open(newline="") as stream:
            return [row["reason"] for row in csv.DictReader(stream)]
