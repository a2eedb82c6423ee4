"""The suite runs once per instruction set: what was asked for must be what runs."""

import os

import pytest

import fastrnn


def pytest_report_header():
    config = fastrnn.config()
    return f"fastrnn: {config['isa']} of {', '.join(config['isas'])}; openmp {config['openmp']}"


def pytest_sessionstart(session):
    asked = os.environ.get("FASTRNN_ISA")
    running = fastrnn.config()["isa"]
    if asked and asked != running:
        raise pytest.UsageError(f"FASTRNN_ISA={asked} was asked for, but {running} runs")
