"""pytorch-forecasting: DeepAR with an LSTM or a GRU, subclasses of PyTorch's, on series of its `generate_ar_data`.

`--ragged` draws histories of different lengths, which the model packs.
"""

import lightning
import record
import torch
from pytorch_forecasting import DeepAR, TimeSeriesDataSet
from pytorch_forecasting.data import NaNLabelEncoder
from pytorch_forecasting.data.examples import generate_ar_data

parser = record.options(__doc__)
parser.add_argument("cell", choices=["LSTM", "GRU"])
parser.add_argument("--ragged", action="store_true")
parser.add_argument("--hidden", type=int, default=30)
parser.add_argument("--steps", type=int, default=600)
options = parser.parse_args()

lightning.seed_everything(0)
series = generate_ar_data(n_series=50, timesteps=300, seed=0)
series["series"] = series["series"].astype(str).astype("category")
data = TimeSeriesDataSet(
    series,
    time_idx="time_idx",
    target="value",
    group_ids=["series"],
    categorical_encoders={"series": NaNLabelEncoder().fit(series.series)},
    static_categoricals=["series"],
    time_varying_unknown_reals=["value"],
    max_encoder_length=60,
    min_encoder_length=5 if options.ragged else 60,
    max_prediction_length=20,
    min_prediction_length=20,
    randomize_length=(0.2, 0.05) if options.ragged else None,
)
model = DeepAR.from_dataset(
    data, cell_type=options.cell, hidden_size=options.hidden, rnn_layers=2, dropout=0.1, learning_rate=1e-3
)
trainer = lightning.Trainer(
    max_steps=options.steps,
    accelerator="cpu",
    gradient_clip_val=0.1,
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    enable_checkpointing=False,
)
with record.Record(options) as run:
    trainer.fit(model, data.to_dataloader(train=True, batch_size=64, num_workers=0))
run.report(weights=torch.cat([weight.detach().flatten() for weight in model.rnn.parameters()]))
