"""Processes of their own for measuring: `python -m fastrnn.bench.worker` reads a plan and prints JSON lines.

Pinning and the numbers of threads hold for every package only if they are set before it starts; so each number of cores
has a process. What the packages print themselves goes to standard error.
"""

from __future__ import annotations

import collections
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

from . import cores
from .cases import Case

Record = dict[str, Any]

SECTIONS = ("cases", "latency", "busy", "model", "memory")
_ERROR_LINES = 20


class WorkerError(RuntimeError):
    """The process ended before its plan did."""


@dataclass(frozen=True)
class Plan:
    """What one process shall measure.

    Attributes
    ----------
    section : one of SECTIONS
    cases : the cases of the sections "cases" and "memory"
    rivals : names of peers; for the section "model" names of `charmodel.RIVALS` but our own
    seconds, rounds : of `measure.Budget`
    """

    section: str
    cores: int
    rivals: Sequence[str]
    seconds: float
    rounds: int
    cases: Sequence[Case] = ()

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def loads(text: str) -> Plan:
        fields = json.loads(text)
        cases = [Case(**case) for case in fields.pop("cases")]
        return Plan(**fields, cases=cases)


def records(plan: Plan) -> Iterator[Record]:
    """Carry a plan out in a pinned process of its own; yields its records as they come.

    Raises
    ------
    WorkerError
        The process failed; what it said last is in the message.
    """
    process = cores.start(__name__, cores.choose(plan.cores), _environment(plan))
    said: collections.deque[str] = collections.deque(maxlen=_ERROR_LINES)
    with process:
        assert (
            process.stdin is not None and process.stdout is not None and process.stderr is not None
        )
        listener = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        listener.start()
        try:
            with suppress(BrokenPipeError):  # it has ended already, and its code says so
                process.stdin.write(plan.dumps())
                process.stdin.close()
            for line in process.stdout:
                yield json.loads(line)
            code = process.wait()
        finally:
            process.kill()
        listener.join(timeout=1)
    if code != 0:
        raise WorkerError(
            f"the process of the section {plan.section!r} ended with code {code}: {' '.join(said)}"
        )


def _environment(plan: Plan) -> Mapping[str, str]:
    """What the process is started with: to be weighed, a peer is in it by itself, with an environment of its own."""
    from . import peers

    peer = peers.PEERS.get(plan.rivals[0]) if plan.section == "memory" else None
    return peer.environment if peer is not None else {}


def _carry_out(plan: Plan) -> Iterator[Record]:
    # Here and not above: the parent needs none of it.
    from . import machine, measure, memory, peers, sections

    if plan.section == "memory":
        yield from memory.run(plan.cases[0], plan.rivals[0], plan.cores)
        return
    figures = machine.measure(plan.cores)
    yield {"kind": "machine", **figures.as_json()}
    budget = measure.Budget(plan.seconds, plan.rounds)
    if plan.section == "model":
        yield from sections.run_models(plan.rivals, budget, figures)
        return
    rivals = [peers.PEERS[name] for name in plan.rivals]
    if plan.section == "cases":
        yield from sections.run_cases(plan.cases, rivals, budget, figures)
    elif plan.section == "latency":
        yield from sections.run_latencies(rivals, budget, figures)
    else:
        yield from sections.run_busy(rivals, budget, figures)


def main() -> None:
    """Read the plan from standard input and print every record as a line of JSON."""
    out: IO[str] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        for record in _carry_out(Plan.loads(sys.stdin.read())):
            print(json.dumps(record), file=out, flush=True)
    except Exception as error:  # the last lines become one of the command's
        if os.environ.get("FASTRNN_DEBUG", "0") not in ("", "0"):
            raise
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
