"""Models of other packages: adopted with the same parameters, and reduced as published, to 1e-9."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from published_classes import VisionMamba
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import suite
from suite.api.adopt import adopt


def merged(x: Tensor, size: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Mean of x (L, C), weighted by size (L,), where rows `source` go into rows `target`; all rows are returned."""
    weighed = x * size[:, None]
    total, whole = weighed.clone(), size.clone()
    for one, other in zip(source.tolist(), target.tolist(), strict=True):
        total[other] += weighed[one]
        whole[other] += size[one]
    return total / whole[:, None]


def published_tome(model: Any, image: Tensor, r: int) -> Tensor:
    """Logits of one image by ToMe's rule on timm's own layers.

    Tokens alternate between two sets; each of the first, but not the class token, names the most similar of the second
    by the cosine of its keys, averaged over heads; the r most similar pairs merge, at most half of the patches;
    attention counts a token of size s as s. What did not merge of the first set stands before the second.
    """
    x = model._pos_embed(model.patch_embed(image[None]))[0]
    size = torch.ones(len(x), dtype=x.dtype)
    for layer in model.blocks:
        attention = layer.attn
        qkv = attention.qkv(layer.norm1(x)).view(len(x), 3, attention.num_heads, -1)
        q, k, v = qkv.permute(1, 2, 0, 3)
        logits = q @ k.mT * attention.scale + size.log()
        x = x + attention.proj((logits.softmax(-1) @ v).transpose(0, 1).flatten(1))
        unit = nn.functional.normalize(k.mean(0), dim=1)
        a, b = torch.arange(0, len(x), 2), torch.arange(1, len(x), 2)
        similar = unit[a] @ unit[b].T
        similar[0] = -torch.inf
        best, which = similar.max(1)
        chosen = best.argsort(descending=True)[: min(r, (len(x) - 1) // 2)]
        source, target = a[chosen], b[which[chosen]]
        left = torch.tensor([i for i in a.tolist() if i not in source.tolist()])
        order = torch.cat([left, b])
        x = merged(x, size, source, target)[order]
        size = size.index_add(0, target, size[source])[order]
        x = x + layer.mlp(layer.norm2(x))
    return model.head(model.norm(x)[0])


@pytest.mark.parametrize("r", [8, 25])
def test_deit_of_timm_gives_the_logits_of_tome_as_published(r: int) -> None:
    torch.manual_seed(0)
    model = (
        timm.create_model("deit_tiny_patch16_224", img_size=112, depth=6, num_classes=10)
        .double()
        .eval()
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter) * 0.05
    images = torch.randn(2, 3, 112, 112, dtype=torch.float64)
    reduced = suite.reduce(model, "tome", counts=r)
    with torch.inference_mode():
        logits = reduced(images)
        for image, found in zip(images, logits, strict=True):
            expected = published_tome(model, image, r)
            assert (found - expected).abs().max() < 1e-9 * expected.abs().max()
        # what was merged makes a difference
        assert (logits - model(images)).abs().max() > 1e-3
    assert repr(reduced).startswith("Reduced(deit_tiny_patch16_224, tome at ")


def tome_on_a_scan(r: int) -> Callable[..., Any]:
    """ToMe adapted: patches of even rank go into those of odd rank by the cosine of the branch, both streams merge."""
    sizes: dict[int, Tensor] = {}

    def reduce(
        index: int, branch: Tensor, residual: Tensor, place: int
    ) -> tuple[Tensor, Tensor, int]:
        (branch,), (residual,) = branch, residual
        size = sizes.get(index - 1, torch.ones(len(branch), dtype=branch.dtype))
        patches = torch.tensor([i for i in range(len(branch)) if i != place])
        a, b = patches[0::2], patches[1::2]
        unit = nn.functional.normalize(branch, dim=1)
        best, which = (unit[a] @ unit[b].T).max(1)
        chosen = best.argsort(descending=True)[:r]
        source, target = a[chosen], b[which[chosen]]
        left = torch.tensor([i for i in range(len(branch)) if i not in source.tolist()])
        sizes[index] = size.index_add(0, target, size[source])[left]
        streams = [
            merged(stream, size, source, target)[left][None] for stream in (branch, residual)
        ]
        return streams[0], streams[1], left.tolist().index(place)

    return reduce


@pytest.mark.parametrize("runs_here", [True, False])
def test_vims_class_gives_the_logits_of_tome_on_a_scan(
    runs_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = VisionMamba(vim=True).double()
    images = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    model.reduce = tome_on_a_scan(3)
    with torch.no_grad():
        expected = torch.cat([model(image[None]) for image in images])
    model.reduce = None
    if not runs_here:  # as where its kernels find no GPU
        monkeypatch.setattr(VisionMamba, "forward", lambda self, x: x.cuda_only)
    reduced = suite.reduce(model, "tome", counts=3)
    with torch.no_grad():
        assert (reduced(images) - expected).abs().max() < 1e-9 * expected.abs().max()
        assert (adopt(model)(images) - expected).abs().max() > 1e-3
    assert repr(reduced) == "Reduced(vim, tome at 3 tokens a site: -8.7 % FLOPs)"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Vim", {"vim": True, "stride": 2}),
        ("VideoMamba", {}),
        ("MambaReg", {"registers": 3}),
        ("MambaReg", {"registers": 4, "neck": 2}),
    ],
)
def test_the_authors_classes_answer_alike(kind: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = VisionMamba(**settings).double()
    backbone = adopt(model)
    assert type(backbone).__name__ == kind
    images = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    with torch.no_grad():
        assert (backbone(images) - model(images)).abs().max() < 1e-9


def small_vit(**settings: Any) -> VisionTransformer:
    sizes: dict[str, Any] = {
        "img_size": 16,
        "patch_size": 4,
        "embed_dim": 12,
        "depth": 2,
        "num_heads": 2,
    }
    return VisionTransformer(**(sizes | {"num_classes": 3} | settings))


def test_parameters_are_shared() -> None:
    model = small_vit()
    model.blocks[0].requires_grad_(False)
    reduced = suite.reduce(model, "tome", counts=2)
    assert {id(part) for part in reduced.parameters()} == {id(part) for part in model.parameters()}
    reduced(torch.randn(2, 3, 16, 16)).sum().backward()
    assert model.head.weight.grad is not None
    assert model.blocks[0].mlp.fc1.weight.grad is None
    assert (model.training, reduced.model.training) == (True, True)


def with_hook() -> nn.Module:
    model = small_vit()
    model.blocks[1].register_forward_hook(lambda *_: None)
    return model


def with_other_gelu() -> nn.Module:
    return small_vit(act_layer=lambda: nn.GELU(approximate="tanh"))


def with_own_forward() -> nn.Module:
    model = small_vit()
    model.forward = lambda images: VisionTransformer.forward(model, images) * 2  # type: ignore[method-assign]
    return model


def that_cannot_run() -> nn.Module:
    model = small_vit()
    model.forward = None  # type: ignore[assignment]
    return model


def changed_vim(**attributes: Any) -> nn.Module:
    model = VisionMamba(vim=True)
    vars(model).update(attributes)
    return model


REFUSED: dict[str, Callable[[], nn.Module]] = {
    "its layout is not known": lambda: nn.Linear(2, 2),
    "it has registers": lambda: small_vit(reg_tokens=2),
    "it has layer scale": lambda: small_vit(init_values=1e-5),
    "it has a norm before its blocks": lambda: small_vit(pre_norm=True),
    "it has normed queries and keys": lambda: small_vit(qk_norm=True),
    "it pools by 'avg'": lambda: small_vit(global_pool="avg"),
    "it lacks blocks.0.attn.qkv.bias": lambda: small_vit(qkv_bias=False),
    r"its pos_embed is \(1, 16, 12\)": lambda: small_vit(no_embed_class=True),
    r"its blocks.0.mlp.fc1.weight is \(36, 12\)": lambda: small_vit(mlp_ratio=3),
    "no linear head that gives logits": lambda: small_vit(num_classes=0),
    r"not square \(16 x 24\)": lambda: small_vit(img_size=(16, 24)),
    "'blocks.1' has hooks": with_hook,
    r"'pos_drop' drops at random in training: call its eval\(\)": lambda: small_vit(
        pos_drop_rate=0.1
    ),
    "has GELU.*not the exact GELU": with_other_gelu,
    "its answers are not those of vit": with_own_forward,
    "it cannot be run": that_cannot_run,
    "it has rotary positions": lambda: changed_vim(if_rope=True),
    "it has no class token": lambda: changed_vim(if_cls_token=False),
    "its answers are not those of vim": lambda: changed_vim(use_middle_cls_token=False),
    "it has a distillation token": lambda: timm.create_model(
        "deit_tiny_distilled_patch16_224", img_size=32, depth=1
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_adopted_says_why_in_one_line(message: str) -> None:
    with pytest.raises(suite.UserError, match=message) as error:
        suite.reduce(REFUSED[message](), "tome", counts=2)
    assert "\n" not in str(error.value)


def test_eps_of_norms_is_taken_over() -> None:
    model = (
        small_vit(norm_layer=lambda dim, **more: nn.LayerNorm(dim, eps=1e-2, **more))
        .double()
        .eval()
    )
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    assert torch.allclose(adopt(model)(images), model(images), rtol=1e-10)
    assert torch.equal(adopt(copy.deepcopy(model))(images), adopt(model)(images))
