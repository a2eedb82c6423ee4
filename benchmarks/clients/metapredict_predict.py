"""metapredict: which parts of a proteome of random proteins are disordered, by the network that it ships."""

import metapredict
import numpy as np
import record

parser = record.options(__doc__)
parser.add_argument("--proteins", type=int, default=8000)
parser.add_argument("--version", default="V3", choices=["V1", "V2", "V3"])
options = parser.parse_args()

generator = np.random.default_rng(0)
lengths = generator.integers(50, 600, options.proteins)
proteins = ["".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in lengths]
with record.Record(options) as run:
    predictions = metapredict.predict_disorder(proteins, version=options.version, device="cpu", round_values=False)
scores = np.concatenate([np.asarray(score, dtype=np.float64) for _, score in predictions])
run.report(scores=scores)
