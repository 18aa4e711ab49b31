"""PyTorch, eager: in both layouts, and with both of its joined SGD steps, of which the fastest
counts.
"""

from __future__ import annotations

from typing import Any

from striate.bench.networks import SGD, Network, fill, images, norms, sample
from striate.bench.work import Work

LAYOUTS = [{"layout": "NCHW"}, {"layout": "channels_last"}]
STEPS = [{**layout, "sgd": sgd} for layout in LAYOUTS for sgd in ("foreach", "fused")]


def train(network: Network, batch_size: int, layout: str = "NCHW", sgd: str = "foreach") -> Work:
    """The step of networks.train."""
    import torch

    model, x, labels = prepare(network, batch_size, layout)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), **SGD, **{sgd: True})

    def step() -> Any:
        loss = criterion(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    logits = model(x)
    loss = criterion(logits, labels)
    check = [*sample(logits.detach().numpy()), loss.item()]
    loss.backward()
    gradients: Any = [parameter.grad for parameter in model.parameters()]
    check += norms(gradient.contiguous().numpy() for gradient in gradients)
    optimizer.step()
    optimizer.zero_grad()
    del logits, loss, gradients
    with torch.no_grad():
        check.append(criterion(model(x), labels).item())
    model.train()
    return Work(step, check)


def infer(network: Network, batch_size: int, layout: str = "NCHW") -> Work:
    """The forward pass under ``torch.inference_mode``."""
    import torch

    model, x, _ = prepare(network, batch_size, layout)

    def forward() -> Any:
        with torch.inference_mode():
            return model(x)

    return Work(forward, sample(forward().numpy()))


def prepare(
    network: Network, batch_size: int, layout: str, device: str = "cpu"
) -> tuple[Any, Any, Any]:
    """The model in eval mode, images and labels."""
    import torch

    torch.manual_seed(0)
    model = network.torch()
    fill(parameter.detach().numpy() for parameter in model.parameters())
    x, labels = (torch.from_numpy(part).to(device) for part in images(network, batch_size))
    model = model.to(device)
    if layout == "channels_last":
        model, x = (part.to(memory_format=torch.channels_last) for part in (model, x))
    return model.eval(), x, labels
