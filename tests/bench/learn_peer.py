"""Samples a CPU second of PyTorch training the networks of learn_bench.c, one thread: fused Adam, CNN channels_last.

usage: learn_peer.py mlp|cnn|lenet|resnet|lstm SECONDS [THREADS] [BATCH]     of more threads than one: samples a second of wall time
"""
import sys
import time

import torch
from torch import nn

kind, seconds = sys.argv[1], float(sys.argv[2])
threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
torch.set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter
rows, batch = 4096, int(sys.argv[4]) if len(sys.argv) > 4 else 256 if kind == "mlp" else 64
torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        stride = 1 if n_in == n_out else 2
        self.body = nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(),
                                  nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out))
        self.skip = nn.Identity() if stride == 1 else nn.Sequential(nn.Conv2d(n_in, n_out, 1, 2, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        return torch.relu(self.body(x) + self.skip(x))


if kind in ("cnn", "lenet", "resnet"):
    models = {
        "cnn": lambda: nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
                                     nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)),
        "lenet": lambda: nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                                       nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                                       nn.Linear(84, 10)),
        "resnet": lambda: nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), Block(32, 32), Block(32, 32),
                                        Block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    }
    shape = (rows, 3, 32, 32) if kind == "resnet" else (rows, 1, 28, 28)
    x = torch.rand(shape).to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (rows,))
    model = models[kind]().to(memory_format=torch.channels_last)
    criterion = nn.CrossEntropyLoss()
elif kind == "lstm":
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 10)

        def forward(self, x):
            return self.head(self.body(x)[0][:, -1])

    model, x, y = Last(), torch.rand(rows, 20, 16), torch.randint(0, 10, (rows,))
    criterion = nn.CrossEntropyLoss()
else:
    model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))
    x, y = torch.rand(rows, 20), torch.randint(0, 2, (rows, 1)).float()
    criterion = nn.BCEWithLogitsLoss()
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
start, steps, done = 0.0, 0, False
while not done:
    order = torch.randperm(rows)
    for first in range(0, rows, batch):
        chosen = order[first:first + batch]
        optimiser.zero_grad(set_to_none=True)
        criterion(model(x[chosen]), y[chosen]).backward()
        optimiser.step()
        steps += 1
        if steps == 20 and not start:
            start, steps = clock(), 0
        if start and clock() - start >= seconds:
            done = True
            break
print(f"{steps * batch / (clock() - start):.0f}")
