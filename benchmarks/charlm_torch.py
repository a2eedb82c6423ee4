"""Train the character model in PyTorch as `fastrnn train` does, and print the validation loss of every epoch.

    python benchmarks/charlm_torch.py TEXT [--epochs 10] [--seed 1] [--threads 1]

The same split (last 5 % of the text), streams (50), windows (50), model (LSTM 2x128 and a linear layer, PyTorch's own
initial values), loss, clipping (norm 5) and RMSprop (2e-3, alpha 0.95, times 0.97 an epoch after the tenth). To be held
against `fastrnn train TEXT --epochs 10 --seed 1`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, one_hot

import fastrnn

B = T = 50


def mean_loss(model, head, streams, vocabulary_size):
    """Mean nats over whole streams (S+1, B), the state carried from window to window."""
    total, state = 0.0, None
    with torch.no_grad():
        for start in range(0, len(streams) - 1, T):
            x, target = streams[start : start + T + 1][:-1], streams[start + 1 : start + T + 1]
            y, state = model(one_hot(x, vocabulary_size).float(), state)
            total += cross_entropy(head(y).flatten(0, 1), target.flatten(), reduction="sum").item()
    return total / streams[1:].numel()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)

    text = options.text.read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    codes = np.array([vocabulary.index(c) for c in text])
    split = len(codes) - int(0.05 * len(codes))
    validation = codes[split:]
    steps = (len(validation) - 1) // B
    validation = torch.tensor(
        np.stack([validation[b * steps : (b + 1) * steps + 1] for b in range(B)], axis=1)
    )

    model, head = torch.nn.LSTM(len(vocabulary), 128, 2), torch.nn.Linear(128, len(vocabulary))
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.RMSprop(parameters, lr=2e-3, alpha=0.95)
    windows = fastrnn.tbptt(codes[:split], batch_size=B, seq_length=T)
    for epoch in range(1, options.epochs + 1):
        state = None
        for x, target in windows:
            y, state = model(one_hot(torch.tensor(x), len(vocabulary)).float(), state)
            state = tuple(part.detach() for part in state)
            loss = cross_entropy(head(y).flatten(0, 1), torch.tensor(target).flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
        if epoch >= 10:
            optimizer.param_groups[0]["lr"] *= 0.97
        print(
            f"epoch {epoch}  val {mean_loss(model, head, validation, len(vocabulary)):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
