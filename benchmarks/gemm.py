"""What the machine can do: matrix products at the model's shapes and at a large square, and the work a token needs."""

import time
from typing import Any

from benchmarks.protocol import Channel, Clock, Round

SQUARE = 2048
"""Side of the large square product; 8192 on a GPU."""
LEAST = 0.05
"""Seconds of repeated products behind one figure."""


def useful_flops(size: dict[str, int], vocabulary: int, mean: float, square: float, masked: float) -> float:
    """FLOPs a real token needs, forward and backward, whatever a program spends: mean over sequences of n tokens.

    6 · (numbers in the blocks' matrices) for the products with weights; 12 · layers · width · E[n²]/E[n] for attention's
    two products (each 2 · n · width a token forward, twice that backward); 6 · masked · (width² + width · V) for the
    output layer on masked places only. Embedding look-ups, norms, softmax and the optimizer count as nothing.
    """
    width, layers = size["width"], size["layers"]
    matrices = layers * (4 * width**2 + 2 * width * size["inner"])
    return 6 * matrices + 12 * layers * width * square / mean + 6 * masked * (width**2 + width * vocabulary)


def shapes(size: dict[str, int], vocabulary: int, tokens: int, masked: float, square: int) -> dict[str, tuple[int, int, int]]:
    """The products of a step, forward: name → (rows, inner, columns); and the square one."""
    width = size["width"]
    return {
        "qkv": (tokens, width, 3 * width),
        "attention out": (tokens, width, width),
        "inner": (tokens, width, size["inner"]),
        "outer": (tokens, size["inner"], width),
        "vocabulary": (max(1, int(tokens * masked)), width, vocabulary),
        "square": (square, square, square),
    }


def measure(spec: dict[str, Any], channel: Channel) -> None:
    """A side: one round measures every shape in fp32 and bf16; units are FLOPs, `extra` holds GFLOP/s by shape."""
    import torch

    torch.set_num_threads(spec.get("threads", 1))
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    square = 8192 if cuda else spec.get("square", SQUARE)
    table = shapes(spec["size"], spec["vocabulary"], spec["tokens"], spec["masked"], square)
    pairs = {}
    for dtype in (torch.float32, torch.bfloat16):
        for name, (rows, inner, columns) in table.items():
            a = torch.randn(rows, inner, device=device).to(dtype)
            pairs[f"{str(dtype)[6:]} {name}"] = a, torch.randn(inner, columns, device=device).to(dtype)
    channel.ready(shapes={name: list(shape) for name, shape in table.items()})
    for _ in channel.requests():
        whole, flops, extra = Clock(cuda), 0, {}
        for name, (a, b) in pairs.items():
            found = _one(a, b, cuda)
            flops += found.units
            extra[name] = found.rate / 1e9
        channel.answer(whole.read(flops, len(pairs), extra))


def _one(a: Any, b: Any, cuda: bool) -> Round:
    import torch

    flops = 2 * a.shape[0] * a.shape[1] * b.shape[1]
    torch.mm(a, b)
    began, count = time.perf_counter(), 0
    clock = Clock(cuda)
    while time.perf_counter() - began < LEAST:
        for _ in range(50 if cuda else 1):
            torch.mm(a, b)
            count += 1
    return clock.read(flops * count, count)
