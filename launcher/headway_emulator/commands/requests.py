"""`headway-emulator requests`: what was asked, what came of it, and which permissions a role would need."""

from __future__ import annotations

import argparse
import json

from headway_emulator import request_report as report
from headway_emulator.asking import ask
from headway_emulator.commands import target


def add_flags(parser: argparse.ArgumentParser) -> None:
    target.add_flags(parser)
    parser.add_argument("--method", default="*", help="only methods like this, such as 'aiplatform.*'")
    parser.add_argument("--since", default="", metavar="TIME", help="only from this RFC 3339 time on")
    parser.add_argument("--limit", type=int, default=50, help="how many of the last ones (50)")
    parser.add_argument("--permissions", action="store_true", help="the permissions that all of them needed")
    parser.add_argument("--clear", action="store_true", help="forget what was asked so far")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(flags: argparse.Namespace) -> int:
    return target.answered(lambda: _run(flags, target.url(flags)))


def _run(flags: argparse.Namespace, url: str) -> None:
    if flags.clear:
        ask(url, "DELETE", "/emulator/requests")
        return
    if flags.permissions:
        found = report.permissions(url)
        target.say(json.dumps(found, indent=2) if flags.json else report.permission_table(found))
        return
    found = report.requests(url, flags.method, flags.since, flags.limit)
    target.say(json.dumps(found, indent=2) if flags.json else report.request_table(found))
