#!/usr/bin/env python3
"""The networks of networks.c in PyTorch on the same device, and a table of both.

    bench_torch.py RESULTS              RESULTS: what bench_gpu printed; measures eager and compiled, prints Markdown
    bench_torch.py --one eager|compile NAME:BATCH…     one line "RESULT name batch number" each

"NAME-bf16": under autocast to bfloat16, convolutions on channels_last tensors, as PyTorch advises.
"""
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings

WINDOWS, SECONDS = 7, float(os.environ.get("BENCH_SECONDS", "0.3"))
EAGER_LIMIT, COMPILE_LIMIT = int(os.environ.get("EAGER_LIMIT", "100")), int(os.environ.get("COMPILE_LIMIT", "150"))  # seconds


def networks():
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, n_in, n_out, stride):
            super().__init__()
            self.c1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
            self.n1 = nn.BatchNorm2d(n_out)
            self.c2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
            self.n2 = nn.BatchNorm2d(n_out)
            self.around = nn.Identity()
            if stride != 1 or n_in != n_out:
                self.around = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

        def forward(self, x):
            y = torch.relu(self.n1(self.c1(x)))
            return torch.relu(self.n2(self.c2(y)) + self.around(x))

    def resnet18():
        layers, n = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
        for i, width in enumerate([64, 64, 128, 128, 256, 256, 512, 512]):
            layers.append(Block(n, width, 2 if i > 0 and i % 2 == 0 else 1))
            n = width
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, 10))

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(32, 128, batch_first=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.lstm(x)[1][0][0])

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(1000, 128)
            self.places = nn.Parameter(torch.rand(64, 128) / 10)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(128, 4, 512, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(2))
            self.norm = nn.LayerNorm(128)
            self.head = nn.Linear(128, 10)

        def forward(self, x):
            y = self.embedding(x) + self.places
            for layer in self.layers:
                y = layer(y)
            return self.head(self.norm(y).mean(1))

    linear = nn.Linear
    return {
        "mlp": (lambda: nn.Sequential(linear(20, 128), nn.ReLU(), linear(128, 64), nn.ReLU(), linear(64, 1)), (20,), 65536),
        "lenet": (lambda: nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                                        nn.MaxPool2d(2), nn.Flatten(), linear(400, 120), nn.ReLU(), linear(120, 84), nn.ReLU(),
                                        linear(84, 10)), (1, 28, 28), 16384),
        "resnet18": (resnet18, (3, 32, 32), 4096),
        "lstm": (Recurrent, (32, 32), 8192),
        "transformer": (Encoder, (64,), 8192),
    }


def median_rate(run, per_call):
    import torch
    for _ in range(20):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(10):
        run()
    torch.cuda.synchronize()
    steps = max(2, min(20000, int(SECONDS / ((time.perf_counter() - start) / 10))))
    rates = []
    for _ in range(WINDOWS):
        start = time.perf_counter()
        for _ in range(steps):
            run()
        torch.cuda.synchronize()
        rates.append(steps * per_call / (time.perf_counter() - start))
    return statistics.median(rates)


def show(name, batch, rate):
    print(f"RESULT {name} {batch} {rate:.2f}", flush=True)


def train(name, batch, compiled):
    import torch
    from torch import nn
    network, narrow = name.removesuffix("-bf16"), name.endswith("-bf16")
    build, shape, rows = networks()[network]
    torch.manual_seed(1)
    model = build().cuda()
    images = narrow and len(shape) == 3
    if images:
        model = model.to(memory_format=torch.channels_last)
    x = torch.randint(0, 1000, (rows, *shape), device="cuda") if network == "transformer" else torch.rand(rows, *shape, device="cuda")
    binary = network == "mlp"
    y = torch.randint(0, 2, (rows, 1), device="cuda").float() if binary else torch.randint(0, 10, (rows,), device="cuda")
    criterion = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()
    # Eager: PyTorch's default optimiser; compiled: its fastest one.
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, **({"fused": True} if compiled else {}))
    forward = torch.compile(lambda a, b: criterion(model(a), b)) if compiled else lambda a, b: criterion(model(a), b)
    autocast = torch.autocast("cuda", dtype=torch.bfloat16, enabled=narrow)
    state = {"order": torch.randperm(rows, device="cuda"), "at": 0}

    def step():
        if state["at"] + batch > rows:
            state["order"], state["at"] = torch.randperm(rows, device="cuda"), 0
        chosen = state["order"][state["at"]:state["at"] + batch]
        state["at"] += batch
        optimiser.zero_grad(set_to_none=True)
        rows_of_x = x[chosen].contiguous(memory_format=torch.channels_last) if images else x[chosen]
        with autocast:
            loss = forward(rows_of_x, y[chosen])
        loss.backward()
        optimiser.step()

    show(name, batch, median_rate(step, batch))


def attack(name, batch):
    import torch
    from torch import nn
    build, shape, _ = networks()[name]
    model = build().cuda().eval().requires_grad_(False)
    origin = torch.rand(batch, *shape, device="cuda")
    y = torch.randint(0, 2, (batch, 1), device="cuda").float() if name == "mlp" else torch.randint(0, 10, (batch,), device="cuda")
    criterion = nn.BCEWithLogitsLoss() if name == "mlp" else nn.CrossEntropyLoss()

    def run():
        x = origin.clone()
        for _ in range(10):
            x.requires_grad_(True)
            gradient, = torch.autograd.grad(criterion(model(x), y), x)
            x = (x.detach() + 0.01 * gradient.sign()).clamp(origin - 0.1, origin + 0.1).clamp(0, 1)

    show(f"pgd10-{name}", batch, median_rate(run, batch))


def product(name, size):
    import torch
    a, b = torch.rand(size, size, device="cuda") * 2 - 1, torch.rand(size, size, device="cuda") * 2 - 1
    if name.endswith("-bf16"):
        a, b = a.bfloat16(), b.bfloat16()
    c = torch.empty_like(a)
    show(name, size, median_rate(lambda: torch.mm(a, b, out=c), 2e-12 * size ** 3))


def one(mode, wanted):
    import torch
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)  # sympy's remarks while it compiles, errors to it; failures are raised
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    for name, batch in (text.split(":") for text in wanted):
        is_training = not name.startswith(("gemm", "pgd10-"))
        if mode == "compile" and not is_training:
            continue
        try:
            if is_training:
                train(name, int(batch), mode == "compile")
            elif name.startswith("gemm"):
                product(name, int(batch))
            else:
                attack(name.removeprefix("pgd10-"), int(batch))
        except Exception as failure:  # the table shows what is missing
            print(f"FAILED {name} {mode}: {str(failure)[:300]}", flush=True)


def results_of(text):
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 4 and words[0] == "RESULT":
            found[(words[1], words[2])] = float(words[3])
    return found


def measure(mode, limit, wanted):
    output = b""
    try:
        output = subprocess.run([sys.executable, "-W", "ignore", __file__, "--one", mode, *wanted], stdout=subprocess.PIPE, timeout=limit,
                                env=dict(os.environ, PYTHONWARNINGS="ignore"), check=False).stdout
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        print(f"{mode}: stopped after {limit} s", flush=True)
    text = output.decode()
    print(text, flush=True)
    return results_of(text)


def main():
    ours = results_of(open(sys.argv[1], encoding="utf-8").read())
    wanted = [f"{name}:{batch}" for name, batch in ours]
    eager = measure("eager", EAGER_LIMIT, wanted)
    compiled = measure("compile", COMPILE_LIMIT, wanted)

    def cell(value, base=None):
        if value is None:
            return "–"
        text = f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"
        return text if base is None else f"{text} ({base / value:.2f}×)"

    print("| what | batch | kedge | PyTorch eager (kedge ×) | torch.compile, fused Adam (kedge ×) |\n| --- | --- | --- | --- | --- |")
    for (name, batch), rate in ours.items():
        print(f"| {name} | {batch} | {cell(rate)} | {cell(eager.get((name, batch)), rate)} | {cell(compiled.get((name, batch)), rate)} |")


if __name__ == "__main__":
    one(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "--one" else main()
