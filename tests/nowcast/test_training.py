"""Training: it learns, it goes on where it stopped, and what was not seen never counts."""

import json
import math
import os
import socket

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.multiprocessing import ProcessRaisedException, spawn

from nowcast.errors import ConfigError
from nowcast.models import registry
from nowcast.models.cascade import Cascade
from nowcast.models.ensemble import WEIGHTS
from nowcast.models.registry import create
from nowcast.train.data import MISSING, Augment, Sampler, Sequence, decode, encode, read
from nowcast.train.loop import TrainConfig, Trainer, chances, train
from nowcast.train.losses import TOLERATED, almost_fair_crps, loss_of_lead, spectrum_gap
from nowcast.train.nightly import enter


@pytest.fixture(scope="module")
def sequence():
    """A pattern that moves 2 px per 5 min and flickers, 30 frames."""
    rng = np.random.default_rng(0)
    noise = np.kron(rng.random((20, 20)), np.ones((16, 16)))
    frames = []
    for time in range(30):
        moved = np.roll(noise, 2 * time, 1)[:160, :160]
        rate = np.where(moved > 0.6, (moved - 0.5) * 20 * rng.lognormal(0, 0.3, moved.shape), 0)
        frames.append(encode(rate))
    codes = np.stack(frames)
    motions = {base: np.tile(np.array([2.0, 0.0], np.float32)[:, None, None], (1, 20, 20)) for base in range(3, 20)}
    return Sequence("moving", codes, np.arange(30) * 5, motions)


def config(tmp_path, **changes):
    values = {
        "data": "",
        "out": str(tmp_path),
        "width": 8,
        "size": 128,
        "members": 4,
        "leads": 1,
        "steps": 12,
        "every": 6,
        "device": "cpu",
    }
    return TrainConfig(**{**values, **changes})


@pytest.mark.parametrize("mixed", [False, True])
def test_training_lowers_the_loss(sequence, tmp_path, mixed):
    chosen = config(
        tmp_path, width=8, steps=24, table_rate=0.05, augment=Augment(False, 0, 0, 0, 0), mixed=mixed, fair=0.5
    )
    trainer = Trainer(chosen, [sequence])
    losses = [trainer.step()["crps"] for _ in range(24)]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])


def test_the_ordinary_score_asks_for_less_spread_than_the_fair_one():
    members, truth = torch.tensor([0.0, 2.0, 4.0, 6.0]).reshape(1, 4, 1, 1), torch.full((1, 1, 1), 3.0)
    ordinary, fair = (float(almost_fair_crps(members, truth, alpha)) for alpha in (0.0, 1.0))
    assert ordinary == pytest.approx(2 - 40 / 32)
    assert fair == pytest.approx(2 - 40 / 24)


def test_far_mixes_the_chance_of_leads_with_an_even_one():
    leads = [0, 2, 9, 23]
    near = [1 / (k + 3) for k in leads]
    assert chances(leads, 0.0) == [c / sum(near) for c in near]
    assert chances(leads, 1.0) == [0.25] * 4
    assert chances(leads, 0.3) == pytest.approx([0.7 * c / sum(near) + 0.3 / 4 for c in near])


def test_more_bands_count_longer_waves():
    noise = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    wave = torch.sin(torch.arange(256.0) * (2 * torch.pi / 96)).expand(1, 1, 256, 256)
    few, more = (float(spectrum_gap(noise, noise + wave, bands)) for bands in (4, 6))
    assert few == 0
    assert more > 0.1


def test_members_with_a_quarter_or_four_times_the_power_are_told_so_and_little_is_tolerated():
    noise = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    assert float(spectrum_gap(1.2 * noise, noise)) == 0
    for factor in (0.5, 2.0):
        gap = float(spectrum_gap(factor * noise, noise))
        assert gap == pytest.approx(math.log(4 / TOLERATED) ** 2, rel=0.1)


def test_fine_power_is_seen_beside_strong_slopes_of_coarser_rain():
    hill = 3 * torch.sin(torch.arange(256.0) * (2 * torch.pi / 200)).expand(1, 1, 256, 256)
    noise = 0.1 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    assert float(spectrum_gap(hill + 3 * noise, hill + noise)) > 1


@pytest.mark.parametrize(("stride", "further"), [(0.0, {}), (0.5, {}), (0.0, {"spectrum_bands": 6, "far": 0.3})])
def test_resuming_takes_the_steps_that_would_have_been_taken(sequence, tmp_path, stride, further):
    chosen = config(tmp_path, augment=Augment(stride=stride), **further)
    whole = Trainer(chosen, [sequence])
    for _ in range(2):
        whole.step()
    whole.save(tmp_path / "half.safetensors")
    expected = [whole.step() for _ in range(2)]
    again = Trainer(chosen, [sequence])
    again.resume(tmp_path / "half.safetensors")
    assert [again.step() for _ in range(2)] == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.weights().values(), again.weights().values(), strict=True))


def test_train_writes_weights_and_goes_on(sequence, tmp_path):
    seen = []
    path = train(
        config(tmp_path, width=0, steps=2, every=1), lambda step, losses: seen.append((step, losses)), [sequence]
    )
    assert path.exists()
    assert [s for s, _ in seen] == [1, 2]
    train(config(tmp_path, width=0, steps=3, every=1), lambda step, losses: seen.append((step, losses)), [sequence])
    assert [s for s, _ in seen] == [1, 2, 3]
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 3


def test_a_run_starts_from_the_weights_that_ship(sequence, tmp_path):
    trainer = Trainer(config(tmp_path, width=0, members=8, start=str(WEIGHTS / "edge.safetensors")), [sequence])
    shipped = create("edge").cascade.state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in trainer.model.state_dict().items())


def test_weights_from_before_what_passes_are_the_model_that_they_were(sequence, tmp_path, monkeypatch):
    """A night's models outlive an upgrade: without it nothing passes, which is what they were fitted with."""
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    weights = {name: value for name, value in create("edge").state_dict().items() if not name.endswith("passing")}
    save_file(weights, tmp_path / "before.safetensors")
    trainer = Trainer(config(tmp_path, width=0, members=8, start=str(tmp_path / "before.safetensors")), [sequence])
    assert trainer.model.passing.tolist() == [0, 0, 0]
    assert enter("edge", "edge-before", tmp_path / "before.safetensors").cascade.passing.tolist() == [0, 0, 0]


def test_weights_of_another_version_are_refused_in_one_line(sequence, tmp_path):
    weights = Cascade(4).state_dict()
    save_file({**weights, "memory": weights["memory"][:, :2].contiguous()}, tmp_path / "old.safetensors")
    with pytest.raises(ConfigError, match=r"of another model or version \(size mismatch for memory"):
        Trainer(config(tmp_path, width=0, start=str(tmp_path / "old.safetensors")), [sequence])


def test_crps_of_one_sure_member_is_the_absolute_error():
    members, truth = torch.full((1, 4, 2, 2), 3.0), torch.full((1, 2, 2), 1.0)
    assert float(almost_fair_crps(members, truth).mean()) == pytest.approx(2.0)


def test_what_was_not_seen_never_counts():
    members = torch.rand(1, 4, 32, 32)
    truth = torch.rand(1, 32, 32)
    truth[:, :16] = torch.nan
    first = loss_of_lead(members, truth, torch.ones(1))
    members[:, :, :16] += 100
    assert float(loss_of_lead(members, truth, torch.ones(1))) == pytest.approx(float(first), rel=1e-4)


def test_codes_are_decoded_as_they_were_encoded():
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode(decode(codes)), codes)


def test_samples_mask_leads_that_the_sequence_lacks(sequence):
    batch = Sampler([sequence], 128, torch.device("cpu"), 0, Augment(shift=0)).batch(3)
    assert batch.stack.shape == (3, 4, 128, 128)
    assert batch.motion.shape == (3, 2, 32, 32)
    assert bool(torch.isnan(batch.truth[:, -1]).all()) or batch.truth.shape[1] == 24


@pytest.mark.parametrize(("stride", "speed"), [(0.0, 2), (1.0, 4)])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_motion_is_that_of_the_frames_at_any_stride(stride, speed, shift):
    """Rain that moves 2 px in 5 min, told every 5 or every 10: motion carries each frame onto the next ones."""
    noise = np.kron(np.random.default_rng(0).random((30, 30)), np.ones((16, 16)))
    codes = np.stack([encode(np.where(np.roll(noise, 2 * t, 1) > 0.6, 5 * noise.max(), 0)) for t in range(30)])
    motions = {13: np.tile(np.float32([2, 0])[:, None, None], (1, 60, 60))}
    moving = Sequence("moving", codes, np.arange(30) * 5, motions)
    vary = Augment(flip=False, intensity_db=0, shift_px=2, shift=shift, drop_frame=0, stride=stride)
    sampler = Sampler([moving], 256, torch.device("cpu"), 3, vary)
    for _ in range(4):
        batch = sampler.batch(1)
        assert bool((batch.motion == batch.motion[:, :, :1, :1]).all())
        x, y = (int(v) for v in batch.motion[0, :, 0, 0])
        assert shift or (x, y) == (speed, 0)
        newest, inside = batch.stack[0, -1], slice(100, 156)
        for back in range(1, 4):
            before = batch.stack[0, -1 - back].roll((back * y, back * x), (0, 1))
            assert torch.equal(newest[inside, inside], before[inside, inside])
        for lead in range(5):
            after = batch.truth[0, lead].roll((-(lead + 1) * y, -(lead + 1) * x), (0, 1))
            assert torch.equal(newest[inside, inside] > 0, after[inside, inside] > 0)
        told = int(torch.isfinite(batch.truth[0]).any(-1).any(-1).sum())
        assert told == (8 if stride else 16)  # leads after the end are not known


def test_turning_turns_motion_too(sequence):
    sampler = Sampler([sequence], 128, torch.device("cpu"))
    parts = [
        torch.arange(16.0).reshape(1, 1, 4, 4),
        torch.ones(1, 1, 4, 4),
        torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1),
        torch.zeros(1, 1, 4, 4),
    ]
    turned = sampler._turn(parts, 0.0, 1.0, 0.0)
    assert turned[2].flatten().tolist() == [2.0, -1.0]


def test_netcdf_archives_are_read(tmp_path):
    xr = pytest.importorskip("xarray")
    rate = np.zeros((5, 64, 64), np.float32)
    rate[:, 20:40, 20:40] = 3
    rate[:, 0] = np.nan
    times = np.datetime64("2026-01-01", "ns") + np.arange(5) * np.timedelta64(300, "s")
    xr.Dataset({"rain_rate": (("time", "y", "x"), rate)}, {"time": times}).to_netcdf(tmp_path / "a.nc")
    sequence = read(tmp_path / "a.nc", tmp_path)
    assert sequence.minutes.tolist() == [0, 5, 10, 15, 20]
    assert (sequence.codes[:, 0] == MISSING).all()
    assert decode(sequence.codes)[0, 30, 30] == pytest.approx(3, rel=0.02)
    assert sorted(sequence.motions) == [1, 2, 3]


def _work(rank: int, port: int, folder: str, sequence: Sequence) -> None:
    torch.set_num_threads(1)
    environ = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}  # as torchrun says it
    environ |= {"TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({name: str(value) for name, value in environ.items()})
    train(config(folder, steps=4, together=2, every=2), sequences=[sequence])


def _together(folder, sequence):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    spawn(_work, (port, str(folder), sequence), nprocs=2)


def test_workers_take_the_mean_of_all(sequence, tmp_path):
    _together(tmp_path, sequence)
    one, other = (load_file(tmp_path / f"checkpoint{own}.safetensors") for own in ("", "-1"))
    same = {name for name in one if torch.equal(one[name], other[name])}
    assert {name for name in one if name.startswith(("model.", "averaged."))} <= same
    assert any(name.startswith("optimizer.") and name not in same for name in one), "each had its own samples"
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(value, one[f"averaged.{name}"]) for name, value in weights.items())
    (tmp_path / "checkpoint-1.safetensors").unlink()
    with pytest.raises(ProcessRaisedException, match=r"checkpoints are of steps \[4, 0\]"):
        _together(tmp_path, sequence)
