"""Training on several ranks of MPI: the weights of one process that accumulates, and what happens where a rank dies."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_problems import tagger
from test_fit import problem

import fastrnn

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
if MPIEXEC is None:
    pytest.skip("mpiexec is not installed", allow_module_level=True)

ROOT = Path(__file__).parents[1]
PROGRAM = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from mpi4py import MPI
import fastrnn
from model_problems import tagger
from test_fit import problem
from fastrnn.training import Callback

comm = MPI.COMM_WORLD
rank = comm.Get_rank()
model = tagger("float32", dropout=0.2)
inputs, targets = problem()
options = {{"epochs": 3, "batch_size": 8, "seed": 5, "validation": problem(seed=1), "ordered": True}}
{change}
history = fastrnn.fit(model, inputs, targets, comm=comm, **options)
np.savez(f"rank{{rank}}.npz", losses=history.losses, **model.state_dict())
"""


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(tmp_path, n, change):
    (tmp_path / "program.py").write_text(PROGRAM.format(tests=str(ROOT / "tests"), change=change))
    return [MPIEXEC, "-n", str(n), sys.executable, "-m", "mpi4py", "program.py"]


def run(tmp_path, n, change=""):
    """What each rank ends with."""
    done = subprocess.run(command(tmp_path, n, change), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [dict(np.load(tmp_path / f"rank{rank}.npz")) for rank in range(n)]


def alone(**options):
    """What one process ends with."""
    model = tagger("float32", dropout=0.2)
    given = {"epochs": 3, "batch_size": 8, "seed": 5, "validation": problem(seed=1), **options}
    history = fastrnn.fit(model, *problem(), **given)
    return {"losses": np.array(history.losses), **model.state_dict()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("n", [2, 3])
def test_ranks_in_order_give_the_bits_of_one_process_that_accumulates(tmp_path, n):
    expected = alone(accumulate=n)
    assert all(same(found, expected) for found in run(tmp_path, n))


def test_ranks_that_accumulate_give_the_bits_of_one_process_that_accumulates_as_many(tmp_path):
    expected = alone(accumulate=4, batch_size=4)
    change = 'options |= {"accumulate": 2, "batch_size": 4}'
    assert all(same(found, expected) for found in run(tmp_path, 2, change))


def test_ranks_in_any_order_give_each_other_s_bits_and_nearly_those_of_one_process(tmp_path):
    found, expected = run(tmp_path, 3, 'options["ordered"] = False'), alone(accumulate=3)
    assert same(found[0], found[1]) and same(found[0], found[2])
    assert all(np.allclose(found[0][name], expected[name], rtol=1e-3, atol=1e-5) for name in expected)


def test_every_rank_begins_with_the_weights_of_the_first(tmp_path):
    change = "with model.head.editing() as params: params.flat[:] += rank"
    assert all(same(found, alone(accumulate=2)) for found in run(tmp_path, 2, change))


def test_the_first_rank_alone_writes_files(tmp_path):
    run(tmp_path, 2, 'options |= {"log": f"log{rank}.csv", "checkpoint": f"run{rank}.safetensors"}')
    names = {path.name for path in tmp_path.iterdir()}
    assert {"log0.csv", "run0.safetensors"} <= names and not names & {"log1.csv", "run1.safetensors"}


def test_a_run_of_ranks_goes_on_in_one_process_that_accumulates(tmp_path):
    path = tmp_path / "run.safetensors"
    run(tmp_path, 2, f'options |= {{"epochs": 2, "checkpoint": {str(path)!r}}}')
    assert same(alone(accumulate=2, checkpoint=path, resume=True), alone(accumulate=2))


def test_a_checkpoint_that_cannot_be_read_is_an_error_on_every_rank(tmp_path):
    (tmp_path / "run.safetensors").write_text("mine")
    change = 'options |= {"checkpoint": "run.safetensors", "resume": True}'
    done = subprocess.run(command(tmp_path, 2, change), cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode != 0 and "is there and is no checkpoint" in done.stderr


OTHER = {
    "batch_size": 'options["batch_size"] = 8 + rank',
    "accumulate": 'options["accumulate"] = 1 + rank',
    "epochs": 'options["epochs"] = 3 + rank',
    "ordered": 'options["ordered"] = rank == 0',
    "data": "inputs[0] = inputs[0] + rank",
    "data ": 'options["validation"] = None if rank else problem(seed=1)',
    "checkpoint": 'options |= {"checkpoint": "run.safetensors"} if rank else {}',
    "resume": 'options |= {"checkpoint": "run.safetensors", "resume": rank == 0}',
    "log": 'options |= {"log": "log.csv"} if rank else {}',
    "embedding": "model = tagger('float32', dropout=0.2) if rank == 0 else fastrnn.SequenceModel("
    "fastrnn.LSTM(3, 4), fastrnn.Linear(4, 4), embedding=fastrnn.Embedding(9, 3), dropout=0.2)",
    "recurrent": "model = tagger('float32', dropout=0.2) if rank else fastrnn.SequenceModel("
    "fastrnn.LSTM(3, 5), fastrnn.Linear(5, 4), dropout=0.2)",
}


@pytest.mark.parametrize("name", OTHER)
def test_ranks_with_other_arguments_or_data_are_refused(tmp_path, name):
    line = command(tmp_path, 2, OTHER[name])
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    message = f"fit: the ranks of comm were called with different {name.strip()}; expected the same on all"
    assert done.returncode != 0 and message in done.stderr


KILLED = """
class Die(Callback):
    def on_step(self, run):
        if rank == 1 and run.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
options |= {"checkpoint": "run.safetensors", "callbacks": [Die()], "save_every": 2}
"""
FAILED = """
class Fail(Callback):
    def on_step(self, run):
        if rank == 1 and run.step == 5:
            raise RuntimeError("a rank of its own")
options |= {"checkpoint": "run.safetensors", "callbacks": [Fail()], "save_every": 2}
"""


@pytest.mark.parametrize("change", [KILLED, FAILED], ids=["killed", "failed"])
def test_where_a_rank_dies_the_job_ends_and_its_checkpoint_resumes(tmp_path, change):
    done = subprocess.run(
        command(tmp_path, 2, change), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "a rank of its own" in done.stderr or "KILLED" in (done.stdout + done.stderr).upper()
    found = run(tmp_path, 2, 'options |= {"checkpoint": "run.safetensors", "resume": True}')
    assert all(same(one, alone(accumulate=2)) for one in found)


def test_the_example_gives_the_same_loss_on_one_rank_and_on_two(tmp_path):
    program = str(ROOT / "examples" / "mpi" / "train.py")
    outputs = []
    for n in (1, 2):
        line = [MPIEXEC, "-n", str(n), sys.executable, "-m", "mpi4py", program, f"run{n}.safetensors"]
        done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.strip().splitlines()[-1].split(",", 1)[1])
    assert outputs[0] == outputs[1]
