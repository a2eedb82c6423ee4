"""Many models and many sequences on several processes: joblib and Dask give the bits of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("how", "library"), [("joblib", "joblib"), ("dask", "distributed")])
def test_workers_give_the_bits_of_one_process(tmp_path, how, library):
    pytest.importorskip(library)
    program = ROOT / "examples" / "parallel" / "many.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, str(program), how]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the bits of one process") == 2


@pytest.mark.parametrize("program", ["examples/parallel/many.py", "examples/mpi/train.py"])
def test_a_missing_argument_is_said_with_the_way_to_call_it(tmp_path, program):
    if "mpi" in program:
        pytest.importorskip("mpi4py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, ROOT / program]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "expected one argument" in done.stderr and program in done.stderr
