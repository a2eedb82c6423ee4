"""neuralhydrology: CudaLSTM over a year of days for basins that the script makes up, NetCDF files and all.

The forget bias starts at 1. At 3 the LSTM that training starts with is chaotic on such inputs: with and without oneDNN,
PyTorch's own losses differ by 1 % after fifteen steps.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import record
import torch
import xarray
from neuralhydrology.training.train import start_training
from neuralhydrology.utils.config import Config

BASINS, DAYS = 8, 1200
FORCINGS = ["precipitation", "temperature", "radiation", "humidity", "wind"]
ATTRIBUTES = [f"attribute_{number}" for number in range(20)]


def write_basins(folder):
    """Forcings, and a discharge that a leaking bucket of rain makes of them, one NetCDF file a basin."""
    generator = np.random.default_rng(0)
    dates = pd.date_range("2000-01-01", periods=DAYS, name="date")
    names = [f"basin_{number}" for number in range(BASINS)]
    (folder / "time_series").mkdir()
    (folder / "attributes").mkdir()
    attributes = pd.DataFrame(
        generator.standard_normal((BASINS, len(ATTRIBUTES))), pd.Index(names, name="basin"), ATTRIBUTES
    )
    attributes.to_csv(folder / "attributes" / "attributes.csv")
    for name in names:
        forcings = generator.standard_normal((DAYS, len(FORCINGS)))
        rain = np.maximum(forcings[:, 0], 0)
        water, discharge = 0.0, np.empty(DAYS)
        for day in range(DAYS):
            water += rain[day]
            discharge[day] = 0.05 * water
            water -= discharge[day]
        columns = {forcing: ("date", forcings[:, column]) for column, forcing in enumerate(FORCINGS)}
        series = xarray.Dataset(columns | {"discharge": ("date", discharge)}, {"date": dates})
        series.to_netcdf(folder / "time_series" / f"{name}.nc")
    (folder / "basins.txt").write_text("\n".join(names) + "\n")


def config(folder, hidden, updates):
    basins = str(folder / "basins.txt")
    period = {"train": ("01/01/2001", "01/03/2003"), "validation": ("01/01/2002", "01/06/2002")}
    period["test"] = period["validation"]
    return Config(
        {
            "experiment_name": "cudalstm",
            "run_dir": str(folder),
            "data_dir": str(folder),
            "dataset": "generic",
            **{f"{part}_basin_file": basins for part in period},
            **{f"{part}_start_date": begin for part, (begin, _) in period.items()},
            **{f"{part}_end_date": end for part, (_, end) in period.items()},
            "seed": 0,
            "device": "cpu",
            "model": "cudalstm",
            "head": "regression",
            "output_activation": "linear",
            "hidden_size": hidden,
            "initial_forget_bias": 1,
            "output_dropout": 0.4,
            "optimizer": "Adam",
            "loss": "MSE",
            "learning_rate": {0: 1e-3},
            "batch_size": 256,
            "epochs": 1,
            "max_updates_per_epoch": updates,
            "clip_gradient_norm": 1,
            "predict_last_n": 1,
            "seq_length": 365,
            "num_workers": 0,
            "validate_every": 0,
            "save_weights_every": 1,
            "log_tensorboard": False,
            "log_n_figures": 0,
            "verbose": 0,
            "dynamic_inputs": FORCINGS,
            "target_variables": ["discharge"],
            "clip_targets_to_zero": ["discharge"],
            "static_attributes": ATTRIBUTES,
            "metrics": ["NSE"],
        },
        dev_mode=False,
    )


parser = record.options(__doc__)
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--updates", type=int, default=20)
options = parser.parse_args()

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    write_basins(folder)
    settings = config(folder, options.hidden, options.updates)
    with record.Record(options) as run:
        start_training(settings)
    weights = torch.load(next(folder.rglob("model_epoch001.pt")))
run.report(weights=np.concatenate([weight.numpy().ravel() for weight in weights.values()]))
