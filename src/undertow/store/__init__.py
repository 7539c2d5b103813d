"""A run on disk: zarr arrays, a ledger of shards, a manifest, answers. No torch."""

from __future__ import annotations

from undertow.store.answers import Answer, Answers, Claim, Control, Explanation, Number
from undertow.store.cell import BENIGN, Cell
from undertow.store.check import Fault
from undertow.store.ledger import Ledger, LedgerLine
from undertow.store.merge import merge_runs
from undertow.store.reader import Run, open_run
from undertow.store.schema import GROUPS, SCHEMA_VERSION, template, validate
from undertow.store.shown import (
    Contrast,
    Curve,
    Effect,
    Points,
    Restoration,
    Table,
    Transfer,
    curve_key,
    split_key,
)
from undertow.store.writer import RunWriter, create_run

__all__ = [
    "BENIGN",
    "GROUPS",
    "SCHEMA_VERSION",
    "Answer",
    "Answers",
    "Cell",
    "Claim",
    "Contrast",
    "Control",
    "Curve",
    "Effect",
    "Explanation",
    "Fault",
    "Ledger",
    "LedgerLine",
    "Number",
    "Points",
    "Restoration",
    "Run",
    "RunWriter",
    "Table",
    "Transfer",
    "create_run",
    "curve_key",
    "merge_runs",
    "open_run",
    "split_key",
    "template",
    "validate",
]  # fmt: skip
