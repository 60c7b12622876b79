"""The training step of `benchmarks.training` in PyTorch; started by it, answers every count with the quickest time.

A process of its own, with PyTorch alone in it: two libraries' threads in one process disturb each other, and PyTorch
may live in another environment.
"""

import json
import sys
import time

try:
    import torch
except ImportError:
    print("missing", flush=True)
    sys.exit()


class Network(torch.nn.Module):
    """`jaxcreativity.networks.MinimalResNet`."""

    def __init__(self, depth, width, features=64):
        super().__init__()
        convolution = lambda a, b: torch.nn.Conv2d(a, b, 3, padding=1)  # noqa: E731
        self.first, self.last = convolution(1, width), convolution(width, 1)
        self.layers = torch.nn.ModuleList([convolution(width, width) for _ in range(depth)])
        self.shifts = torch.nn.ModuleList([torch.nn.Linear(features, width) for _ in range(depth)])
        self.embedding = torch.nn.Linear(features, features)
        self.register_buffer("frequencies", torch.logspace(0, 4, features // 2, base=2.0))

    def forward(self, y, sigma):
        """Map scaled images to outputs."""
        phases = self.frequencies * torch.log(sigma)[:, None] / 4
        e = torch.nn.functional.silu(self.embedding(torch.cat([phases.sin(), phases.cos()], dim=1)))
        h = self.first(y)
        for layer, shift in zip(self.layers, self.shifts, strict=True):
            h = h + layer(torch.relu(h + shift(e)[:, :, None, None]))
        return self.last(torch.relu(h))


def main(settings) -> None:
    """Answer until the input ends."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size, count = settings["image_size"], settings["levels"] * settings["batch_size"]
    layout = torch.channels_last  # the quicker of the two layouts
    network = Network(settings["depth"], settings["width"]).to(device, memory_format=layout)
    average = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=settings["learning_rate"])
    data = torch.randn(1000, 1, size, size, device=device) * settings["sigma_data"]
    sigma = torch.logspace(1.5, -1.5, settings["levels"], device=device).repeat_interleave(settings["batch_size"])

    def step():
        x = data[torch.randint(0, 1000, (count,), device=device)]
        noise, s = torch.randn_like(x), sigma[:, None, None, None]
        root = (s**2 + settings["sigma_data"] ** 2).sqrt()
        y = ((x + s * noise) / root).to(memory_format=layout)
        target = (settings["sigma_data"] * noise - s * x / settings["sigma_data"]) / root
        optimizer.zero_grad()
        (network(y, sigma) - target).square().mean().backward()
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in network.parameters()], 1 - settings["decay"])
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
        print(min(times), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
