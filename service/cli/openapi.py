"""`pricegrid openapi`: the HTTP door as an OpenAPI document."""

import argparse
import json
from importlib.metadata import version


def add_openapi_arguments(_: argparse.ArgumentParser) -> None:
    """It has none."""


def run_openapi(_: argparse.Namespace) -> int:
    """Prints the document."""
    from pricegrid.service.rpc.services import SERVICES
    from pricegrid.service.transport.openapi import document

    print(json.dumps(document(SERVICES, version("pricegrid")), indent=2))
    return 0
