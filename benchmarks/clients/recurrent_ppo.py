"""sb3-contrib: RecurrentPPO learns CartPole from positions alone, without the velocities."""

import gymnasium
import numpy as np
import record
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env

SEED = 0


class WithoutVelocity(gymnasium.ObservationWrapper):
    """CartPole whose two velocities always read zero: what the agent needs, it must remember."""

    def observation(self, observation):
        return observation * np.array([1, 0, 1, 0], dtype=observation.dtype)


parser = record.options(__doc__)
parser.add_argument("--environments", type=int, default=1)
parser.add_argument("--timesteps", type=int, default=5120)
options = parser.parse_args()

environments = make_vec_env("CartPole-v1", options.environments, seed=SEED, wrapper_class=WithoutVelocity)
model = RecurrentPPO("MlpLstmPolicy", environments, seed=SEED, device="cpu")
with record.Record(options) as run:
    model.learn(options.timesteps)

observations = np.random.default_rng(SEED).uniform(-0.1, 0.1, (100, 4)).astype(np.float32)
memory = []
states = None
for observation in observations:
    action, states = model.predict(observation, state=states, deterministic=True)
    memory.append(states[0])
run.report(memory=memory)
