"""neuralforecast: LSTM, GRU or DeepAR with the sizes it comes with, on a panel that its `generate_series` makes."""

import record
from neuralforecast import NeuralForecast
from neuralforecast.models import GRU, LSTM, DeepAR
from neuralforecast.utils import generate_series

MODELS = {"lstm": (LSTM, 300), "gru": (GRU, 100), "deepar": (DeepAR, 30)}

parser = record.options(__doc__)
parser.add_argument("model", choices=MODELS)
parser.add_argument("--recurrent", action="store_true", help="LSTM, GRU: feed forecasts back (LSTM with a projection)")
parser.add_argument("--steps", type=int, help="training steps; the default takes half a minute")
options = parser.parse_args()

panel = generate_series(64, freq="D", min_length=150, max_length=300, seed=0)
kind, steps = MODELS[options.model]
model = kind(
    h=14,
    input_size=56,
    max_steps=options.steps or steps,
    random_seed=1,
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    enable_checkpointing=False,
    **({"recurrent": True} if options.recurrent else {}),
)
forecaster = NeuralForecast(models=[model], freq="D")
with record.Record(options) as run:
    forecaster.fit(panel)
    forecasts = forecaster.predict()
run.report(forecasts=forecasts.drop(columns=["unique_id", "ds"]))
