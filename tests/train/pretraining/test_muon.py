import pytest
import torch

from train.pretraining.muon import Muon, orthogonalize

SHAPES = [(12, 12), (8, 40), (40, 8)]


def factors(shape: tuple[int, int], smallest: float = 0.03) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U ``(m, k)``, distinct singular values ``(k,)`` and V ``(n, k)`` of a random matrix."""
    torch.manual_seed(0)
    k = min(shape)
    u, v = (torch.linalg.qr(torch.randn(size, k))[0] for size in shape)
    return u, torch.logspace(0, torch.tensor(smallest).log10().item(), k), v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_singular_values_go_to_one(shape, scale) -> None:
    u, s, v = factors(shape)
    matrix = scale * u @ torch.diag(s) @ v.T
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.shape == (min(shape),)
    assert values.min() > 0.6
    assert values.max() < 1.25


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_vectors_are_kept(shape) -> None:
    u, s, v = factors(shape)
    result = orthogonalize(u @ torch.diag(s) @ v.T)
    core = u.T @ result @ v
    assert (core.diagonal() > 0.6).all()
    torch.testing.assert_close(core, torch.diag(core.diagonal()), atol=1e-4, rtol=0)
    torch.testing.assert_close(u @ core @ v.T, result, atol=1e-4, rtol=0)  # nothing outside these vectors


def test_zero_stays_zero() -> None:
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_pytorch(shape) -> None:
    """``torch.optim.Muon`` iterates in bfloat16, which keeps about 1/128; the second step has momentum."""
    torch.manual_seed(1)
    start = torch.randn(shape)
    settings = dict(lr=0.1, momentum=0.9, weight_decay=0.2)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizers = [Muon([ours], **settings), torch.optim.Muon([theirs], **settings)]
    for _ in range(2):
        before = theirs.detach().clone()
        gradient = torch.randn(shape)
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
        moved = (theirs - before).norm()
        assert (ours - theirs).norm() < 0.04 * moved


def test_decreases_a_quadratic() -> None:
    """Steps have a fixed length, so the distance falls to about that length and no further."""
    torch.manual_seed(2)
    target, weight = torch.randn(6, 9), torch.zeros(6, 9, requires_grad=True)
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (weight - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[20] < 0.8 * losses[0]
    assert losses[-1] < 0.01 * losses[0]


def test_weight_decay_alone_shrinks() -> None:
    weight = torch.ones(3, 4, requires_grad=True)
    weight.grad = torch.zeros(3, 4)
    Muon([weight], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 4), 0.95))


def test_weight_without_gradient_is_left_alone() -> None:
    weight, other = torch.ones(2, 2, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    other.grad = torch.eye(2)
    Muon([weight, other], lr=0.5, weight_decay=0.1).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))
    assert not torch.equal(other.detach(), torch.ones(2, 2))
