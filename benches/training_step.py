"""The steps of benches/training_step.rs in PyTorch: python benches/training_step.py [BATCH] [THREADS]

Needs `torch` alone. BatchNorm is frozen, weights are random: only the time is compared.
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

BATCH = int(sys.argv[1]) if len(sys.argv) > 1 else 8
ROUNDS = 9


class ConvNorm(nn.Module):
    def __init__(self, channels, filters, kernel, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, kernel, padding=padding, bias=False)
        self.norm = nn.BatchNorm2d(filters, eps=1e-3)
        self.norm.requires_grad_(False)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class Block(nn.Module):
    """`mixed9` and `mixed10` of InceptionV3."""

    def __init__(self, channels):
        super().__init__()
        self.one = ConvNorm(channels, 320, 1)
        self.three = ConvNorm(channels, 384, 1)
        self.three_row, self.three_column = ConvNorm(384, 384, (1, 3), (0, 1)), ConvNorm(384, 384, (3, 1), (1, 0))
        self.chain = nn.Sequential(ConvNorm(channels, 448, 1), ConvNorm(448, 384, 3, 1))
        self.double_row, self.double_column = ConvNorm(384, 384, (1, 3), (0, 1)), ConvNorm(384, 384, (3, 1), (1, 0))
        self.pool = ConvNorm(channels, 192, 1)

    def forward(self, x):
        three, double = self.three(x), self.chain(x)
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
        parts = [self.three_row(three), self.three_column(three), self.double_row(double), self.double_column(double)]
        return torch.cat([self.one(x), *parts, pooled], 1)


def vgg16():
    convs = [layer for _ in range(3) for layer in (nn.Conv2d(512, 512, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*convs, nn.MaxPool2d(2)), (512, 14, 14), 512


def inception_v3():
    return nn.Sequential(Block(1280), Block(2048)), (1280, 8, 8), 2048


def main():
    torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
    print(f"batch {BATCH}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    print("| part | ms per step (median) | images/s | processor ms per step |")
    for make in (vgg16, inception_v3):
        body, shape, width = make()
        model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)
        x, labels = torch.randn(BATCH, *shape), torch.arange(BATCH) % 10
        times, busy = [], []
        for _ in range(ROUNDS + 1):
            started, used = time.perf_counter(), time.process_time()
            optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()
            times.append(time.perf_counter() - started)
            busy.append(time.process_time() - used)
        median, cpu = sorted(times[1:])[ROUNDS // 2] * 1e3, sorted(busy[1:])[ROUNDS // 2] * 1e3
        print(f"| {make.__name__} | {median:.0f} | {BATCH / median * 1e3:.1f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
