"""Against what the official code computed: see tests/fixtures/official.py."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from crossflow import crossflow
from crossflow.draws import StepDraws
from crossflow.errors import InputError
from crossflow.method import Ends, Method, flow_loss, training_loss
from crossflow.network import SIZES
from crossflow.nulls import Nulls
from crossflow.official import OfficialModel, load_official
from crossflow.problem import Pair, Source
from crossflow.solver import Grid
from tests.fixtures import official as fixture

TEXT = "context_encoder."


def loaded(name: str) -> OfficialModel:
    given = fixture.small(name)
    return load_official(given.state_dict, num_heads=given.num_heads, text_heads=given.text_heads)


def difference(got: Tensor, expected: Tensor) -> float:
    """Of the numbers the fixture keeps, the largest, over the largest value."""
    return ((got.flatten()[:: fixture.STRIDE] - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", fixture.NETWORKS)
def test_equals_the_official_code(name: str) -> None:
    model, given = loaded(name), fixture.small(name)
    assert given.null.any() and not given.null.all() and len(given.mask.sum(1).unique()) == 3
    with torch.no_grad():
        mean, logvar = model.encode_text(given.tokens, given.mask)
        velocity = model.velocity(given.x, given.t, given.null)
    kept = Ends(given.x, None, null=torch.zeros(3, dtype=torch.bool))
    grid = Grid(fixture.STEPS, "euler_official")
    sampled = Method(model.problem).sample(model.net, kept, grid, fixture.GUIDANCE).x
    assert difference(mean, given.expected["mean"]) < 1e-5
    assert difference(logvar, given.expected["logvar"]) < 1e-5
    assert difference(velocity, given.expected["velocity"]) < 1e-5
    assert difference(sampled, given.expected["sampled"]) < 1e-4
    assert mean.shape == logvar.shape == velocity.shape == given.x.shape
    # The common grid ends elsewhere.
    other = Method(model.problem).sample(
        model.net, kept, Grid(fixture.STEPS, "euler"), fixture.GUIDANCE
    )
    assert difference(other.x, given.expected["sampled"]) > 1e-3


@pytest.mark.parametrize("name", ["dit", "dimr"])
def test_the_loss_step_is_what_its_fixture_says(name: str) -> None:
    step = fixture.loss_step(name)
    model = loaded(name).train()
    mean, logvar = model.encode_text(step.inputs["tokens"], step.inputs["mask"])
    z0 = mean + torch.exp(logvar / 2) * step.noise.view_as(mean)
    x1, t = step.x1[step.order], step.inputs["t"].view(-1, 1, 1, 1)
    xt, ut = (1 - (1 - 1e-5) * t) * z0 + t * x1, x1 - (1 - 1e-5) * z0
    given = xt, step.inputs["t"], None, step.inputs["null"]
    outputs = model.net.velocities(*given, None) if name == "dimr" else [model.net(*given)]
    rows = [flow_loss([v[i : i + 1] for v in outputs], ut[i : i + 1]) for i in range(8)]
    kl = -0.5 * (1 + logvar - (0.3 * mean) ** 6 - logvar.exp()).flatten(1).sum(1)
    z, image = F.normalize(z0.flatten(1), dim=1), F.normalize(step.image, dim=1)
    logits = fixture.LOGIT_SCALE * image @ z.T
    labels = torch.arange(8)
    contrastive = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    total = flow_loss(outputs, ut) + contrastive + 0.01 * kl.mean()
    torch.testing.assert_close(torch.stack(rows), step.flow, rtol=1e-5, atol=0)
    torch.testing.assert_close(kl, step.kl, rtol=1e-5, atol=0)
    torch.testing.assert_close(contrastive, step.contrastive, rtol=1e-5, atol=0)
    torch.testing.assert_close(total, step.total, rtol=1e-5, atol=0)
    total.backward()
    for part, norm in zip((model.net, model.text), step.gradients, strict=True):
        squares = [p.grad.double().square().sum() for p in part.parameters() if p.grad is not None]
        assert sum(squares).sqrt().item() == pytest.approx(norm.item(), rel=1e-5)
    assert step.order.tolist() == [0, 4, 2, 3, 6, 5, 1, 7]


def test_files_and_the_image_tower(tmp_path: Path) -> None:
    given = fixture.small("dit")
    tower = {"open_clip.logit_scale": torch.ones(()), "open_clip_output.fc1.bias": torch.ones(3)}
    tensors = given.state_dict | tower
    torch.save(tensors, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "a.safetensors")
    heads = {"num_heads": given.num_heads, "text_heads": given.text_heads}
    expected = loaded("dit").state_dict()
    for path in (tmp_path / "a.pth", str(tmp_path / "a.safetensors")):
        model = load_official(path, "t2i_512px_t5_dit", **heads)
        assert all(torch.equal(expected[name], t) for name, t in model.state_dict().items())
        assert not model.training
        before = Path(path).read_bytes()
        with torch.no_grad():  # mapped, but training does not write into the file
            next(model.net.parameters()).add_(1)
        assert Path(path).read_bytes() == before
    # Heads of the name: 20 do not divide the small width, the text encoder's are the argument's.
    with pytest.raises(InputError, match="20 heads do not divide the width 48"):
        load_official(tensors, "t2i_512px_t5_dit", text_heads=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.attn.qkv.bias": None}, "as a dit it lacks net.blocks.1.attention"),
        ({"blocks.1.attn.q_norm.weight": torch.ones(4)}, "has an unknown net.blocks.1"),
        ({"final_layer.linear.bias": torch.ones(4)}, r"net.velocity.bias of \(4,\), not \(32,\)"),
        ({"pos_embed": torch.ones(1, 63, 48)}, "63 patches make no square"),
        ({"pos_embed": None}, "no checkpoint of CrossFlow, it has no 4-d stages.0"),
        ({"blocks.0.mlp.up.bias": torch.ones(192)}, "a second net.blocks.0.mlp.up.bias, its block"),
        ({"step": 3}, "'step' is no tensor"),
        ({"blocks.0.attn.qkv.weight": torch.ones(())}, r"qkv.weight, .* of \(\), has no weights"),
        ({"x_embedder.proj.weight": torch.ones(48, 8, 0, 0)}, r"of \(48, 8, 0, 0\), has no"),
        ({"pos_embed": torch.ones(1, 64, 48).int()}, r"torch.int32 of \(1, 64, 48\), has no weig"),
        ({"pos_embed": torch.ones(1, 64, 48, device="meta")}, "pos_embed, .* has no weights"),
        ({f"{TEXT}layers.0.attn.W_V.weight": torch.ones(3)}, "W_V.weight does not fit .*W_K"),
        ({f"{TEXT}reduction_layers.{i}.x": torch.ones(1) for i in range(9)}, "the width 0"),
    ],
)
def test_state_dicts_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    tensors = fixture.small("dit").state_dict | change
    tensors = {name: value for name, value in tensors.items() if value is not None}
    with pytest.raises(InputError, match=message):
        load_official(tensors, num_heads=3, text_heads=2)


def test_wrong_names_and_files(tmp_path: Path) -> None:
    given = fixture.small("dimr").state_dict
    with pytest.raises(InputError, match="Did you mean t2i_512px_t5_dit"):
        load_official(given, "t2i_512px_t5_dt")
    with pytest.raises(InputError, match="those of a dimr, not of t2i_512px_t5_dit"):
        load_official(given, "t2i_512px_t5_dit", num_heads=4, text_heads=2)
    with pytest.raises(InputError, match="give num_heads and text_heads"):
        load_official(given, text_heads=2)
    with pytest.raises(InputError, match="-4 heads do not divide the width 32"):
        load_official(given, num_heads=-4, text_heads=2)
    with pytest.raises(InputError, match="no such file"):
        load_official(tmp_path / "none.pth", "t2i_512px_t5_dit")
    wrong = tmp_path / "wrong.pth"
    torch.save([torch.ones(1)], wrong)
    with pytest.raises(InputError, match="holds a list"):
        load_official(wrong, "t2i_512px_t5_dit")
    torch.save({"path": Path("x")}, wrong)  # code would have to run to load it
    whole = wrong.read_bytes()
    for content in (whole, b"", b"not a checkpoint", whole[: len(whole) // 2]):
        for path in (wrong, tmp_path / "wrong.safetensors"):
            path.write_bytes(content)
            with pytest.raises(InputError, match="not tensors by torch") as error:
                load_official(path, "t2i_512px_t5_dit")
            assert "\n" not in str(error.value)


def test_the_name_of_a_file_gives_the_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = fixture.small("dimr")
    torch.save(given.state_dict, tmp_path / "a_dimr.pth")
    with pytest.raises(
        InputError, match=r"a_dimr\.pth: give num_heads and text_heads, or a name, or"
    ):
        load_official(tmp_path / "a_dimr.pth")
    names = {"a_dimr": (4, 2, 32, 32), "b_dimr": (4, 2, 32, 64)}
    monkeypatch.setattr("crossflow.official.NAMES", names)
    state = load_official(tmp_path / "a_dimr.pth").state_dict()
    assert all(torch.equal(state[name], t) for name, t in loaded("dimr").state_dict().items())
    with pytest.raises(InputError, match="its sizes are those of a_dimr, not of b_dimr"):
        load_official(given.state_dict, "b_dimr")


def test_the_page_runs_on_small_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[2] / "docs/official_weights.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    torch.save(fixture.small("dimr").state_dict, tmp_path / "t2i_256px_clip_dimr.pth")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out == "torch.Size([2, 2, 32, 32])\n"


def test_a_text_without_a_token_is_refused() -> None:
    model, given = loaded("dit"), fixture.small("dit")
    with pytest.raises(InputError, match="no token"):
        model.encode_text(given.tokens, given.mask * torch.tensor([[1], [0], [1]]))


class Fixed(StepDraws):
    """Times and noise of a fixture's step."""

    def __init__(self, step: fixture.LossStep) -> None:
        super().__init__(0, 0, range(8), 8)
        self.step = step

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        fixed = {"time": torch.logit(self.step.inputs["t"]), "source": self.step.noise}
        return fixed[name].view(8, *shape)


@pytest.mark.parametrize("name", ["dit", "dimr"])
def test_the_loss_of_crossflow_is_the_official_one(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On the authors' networks, draws and null rows; of the image tower its output is given."""
    step, given, path = fixture.loss_step(name), fixture.small(name), tmp_path / f"small_{name}.pth"
    torch.save(step.state_dict, path)
    heads = {f"small_{name}": (given.num_heads, given.text_heads, 32, given.x.shape[2])}
    monkeypatch.setattr("crossflow.official.NAMES", heads)
    options = {"temperature": "raw", "init": str(path)}
    method = crossflow.method(loaded(name).problem, SIZES["B"], **options)
    net, method.tower = method.network(SIZES["B"]), nn.Identity()
    monkeypatch.setattr(method.tower, "forward", lambda x1: step.image)
    monkeypatch.setattr(
        "crossflow.crossflow.choose_nulls", lambda *given: Nulls(step.inputs["null"], step.order)
    )
    with torch.no_grad():
        method.contrastive.scale.fill_(fixture.LOGIT_SCALE)
    source = Source(step.inputs["tokens"], step.inputs["mask"].bool())
    loss = training_loss(net, method, Pair(source, step.x1, torch.arange(8)), Fixed(step))
    numbers = step.x1[0].numel()
    assert method.weights == {"kl": pytest.approx(0.01 * numbers), "contrastive": 1}
    expected = {
        "flow": step.flow.mean(),
        "kl": step.kl.mean() / numbers,
        "contrastive": step.contrastive,
    }
    torch.testing.assert_close(loss.terms, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.total, step.total, rtol=1e-5, atol=0)
    loss.total.backward()
    for part, norm in zip((net, method.encoder), step.gradients, strict=True):
        squares = [p.grad.double().square().sum() for p in part.parameters() if p.grad is not None]
        assert sum(squares).sqrt().item() == pytest.approx(norm.item(), rel=1e-5)
