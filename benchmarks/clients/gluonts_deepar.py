"""gluonts: DeepAR on series that its artificial data sets make, trained and asked for forecasts."""

import lightning
import numpy as np
import record
from gluonts.dataset.artificial import ComplexSeasonalTimeSeries
from gluonts.dataset.common import ListDataset
from gluonts.torch.model.deepar import DeepAREstimator

parser = record.options(__doc__)
parser.add_argument("--hidden", type=int, default=40)
parser.add_argument("--epochs", type=int, default=30)
options = parser.parse_args()

np.random.seed(0)
lightning.seed_everything(0)
data = ComplexSeasonalTimeSeries(num_series=50, prediction_length=24, freq_str="D", length_low=200, length_high=400)
train = ListDataset(data.train, freq="D")
estimator = DeepAREstimator(
    freq="D",
    prediction_length=24,
    context_length=48,
    hidden_size=options.hidden,
    trainer_kwargs={
        "max_epochs": options.epochs,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
)
with record.Record(options) as run:
    predictor = estimator.train(train)
    forecasts = [forecast.samples for forecast in predictor.predict(train)]
run.report(forecasts=forecasts)
