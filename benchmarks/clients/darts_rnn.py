"""darts: RNNModel on daily series, which it trains in float64 because that is what a series holds."""

import numpy as np
import record
from darts import concatenate
from darts.models import RNNModel
from darts.utils.timeseries_generation import gaussian_timeseries, sine_timeseries

parser = record.options(__doc__)
parser.add_argument("model", choices=["LSTM", "GRU", "RNN"])
parser.add_argument("--float32", action="store_true", help="train in float32")
parser.add_argument("--epochs", type=int, default=40)
options = parser.parse_args()

np.random.seed(0)
series = [
    sine_timeseries(length=250, value_frequency=frequency) + gaussian_timeseries(length=250, std=0.1)
    for frequency in np.linspace(0.01, 0.1, 12)
]
if options.float32:
    series = [each.astype(np.float32) for each in series]
model = RNNModel(
    input_chunk_length=48,
    training_length=72,
    model=options.model,
    hidden_dim=25,
    n_rnn_layers=1,
    batch_size=32,
    n_epochs=options.epochs,
    random_state=0,
    pl_trainer_kwargs={
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
)
with record.Record(options) as run:
    model.fit(series)
    forecasts = model.predict(24, series=series)
run.report(forecasts=concatenate(forecasts, axis=1).values())
