"""Quick gradients of depthwise convolutions are the same as PyTorch's own."""

from __future__ import annotations

import pytest

from closeup.learn.finetune.depthwise import convolution, quick_depthwise

torch = pytest.importorskip("torch", reason="fine-tuning needs the torch extra")


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize(
    ("size", "padding"), [((12, 12), "half"), ((11, 14), "half"), ((13, 12), 0)]
)
def test_gradients_agree(
    side: int, stride: tuple[int, int], size: tuple[int, int], padding: str | int
) -> None:
    torch.manual_seed(0)
    pad = (side // 2,) * 2 if padding == "half" else (0, 0)
    values = torch.randn(2, 8, *size, requires_grad=True)
    weights = torch.randn(8, 1, side, side, requires_grad=True)
    plain = torch.conv2d(values, weights, None, stride, pad, 1, 8)
    quick = convolution().apply(values, weights, stride, pad)
    gradient = torch.randn_like(plain)
    torch.testing.assert_close(quick, plain)
    wanted = torch.autograd.grad(plain, (values, weights), gradient)
    found = torch.autograd.grad(quick, (values, weights), gradient)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_only_depthwise_convolutions_in_training_are_replaced() -> None:
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False), nn.Conv2d(8, 8, 3)
    )
    pictures = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16), quick_depthwise():
        middle = net[1](net[0](pictures))
        assert middle.grad_fn.name() == "DepthwiseBackward"
        assert "Depthwise" not in net[2](middle).grad_fn.name()
        assert "Depthwise" not in net[0](pictures).grad_fn.name()
    with quick_depthwise():  # in full precision PyTorch's own are quick enough
        assert "Depthwise" not in net[1](net[0](pictures)).grad_fn.name()
    net[1].requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16), quick_depthwise():
        assert "Depthwise" not in net[1](net[0](pictures)).grad_fn.name()
