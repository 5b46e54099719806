"""The network encodes each line and drug once, its members do not mix, and training can be taken up again."""

import numpy as np
import pytest
import torch

import pm_lab as pm
from pm_lab.drug_response import network
from pm_lab.drug_response.network import (
    DrugResponseNet,
    Training,
    choose_device,
    held_out_lines,
    train,
)
from pm_lab.errors import DataError, PmLabError

CPU = torch.device("cpu")
forward = DrugResponseNet.forward


@pytest.fixture
def task():
    """80 lines × 12 drugs whose response follows three genes of ten."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(80, 10)).astype(np.float32)
    target = inputs[:, :3] @ rng.normal(size=(3, 12)).astype(np.float32)
    axes = np.linalg.svd(target, full_matrices=False)[2].T[:, :3].copy()
    return inputs, target, axes


def trained(task, members=4, max_epochs=30, seed=0, **options):
    inputs, target, axes = task
    net = DrugResponseNet(10, axes, members=members, hidden=16, seed=seed)
    member = held_out_lines(np.arange(len(inputs)), members, 0)
    state = train(net, inputs, target, member, CPU, max_epochs, seed, **options)
    return net, state


def weights(net):
    return {name: weight.detach().clone() for name, weight in net.named_parameters()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_the_response_is_lines_times_drugs():
    net = pm.drug_response.DrugResponseNet(n_inputs=5, axes=torch.eye(4)[:, :2], members=3, hidden=6)
    lines = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    encoded = net.encode_lines(lines)
    assert encoded.shape == (3, 7, 2) and net.drug.shape == (3, 4, 2)
    torch.testing.assert_close(net(lines), encoded @ net.drug.transpose(1, 2))
    # Drugs that start with no axis are not predicted to differ from their mean.
    assert (net(lines)[:, :, 2:] == 0).all()


def test_dropout_is_on_in_training_alone():
    net = DrugResponseNet(50, torch.eye(4), members=2, hidden=30)
    lines = torch.ones(6, 50)
    torch.testing.assert_close(net(lines), net(lines), rtol=0, atol=0)
    one, other = (net(lines, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(one, other)
    # A line is seen with other genes left out than the next.
    assert not torch.equal(one[:, 0], one[:, 1])


def test_it_learns_and_leaves_the_best_weights(task):
    net, state = trained(task, max_epochs=300)
    inputs, target, _ = task
    losses = [row["validation_loss"] for row in state.history]
    assert min(losses) == state.best_loss < 0.6 * target.var()
    member = torch.as_tensor(held_out_lines(np.arange(80), 4, 0))
    own = net(torch.as_tensor(inputs))[member, torch.arange(80)]
    assert ((own - torch.as_tensor(target)) ** 2).mean().item() == pytest.approx(state.best_loss)
    assert state.history[-1]["training_loss"] < state.history[0]["training_loss"]


def test_a_member_learns_nothing_of_the_lines_that_it_is_validated_on(task):
    inputs, target, axes = task
    member = held_out_lines(np.arange(80), 4, 0)
    spoilt = target + 100.0 * (member == 1)[:, None]
    nets = [trained((inputs, values, axes), max_epochs=5)[0] for values in (target, spoilt)]
    one, other = (net(torch.as_tensor(inputs)) for net in nets)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-5)
    assert (one[0] - other[0]).abs().max() > 0.1


def test_every_line_is_validated_once():
    member = held_out_lines(np.arange(83), 8, seed=1)
    assert sorted(set(member)) == list(range(8))
    assert np.ptp(np.bincount(member)) <= 1
    assert (member != held_out_lines(np.arange(83), 8, seed=2)).any()


def test_lines_of_a_group_are_held_out_together():
    groups = np.repeat(np.arange(12), np.arange(2, 14))
    member = held_out_lines(np.random.default_rng(0).permutation(groups), 3, seed=0)
    assert np.ptp(np.bincount(member)) <= 3
    member = held_out_lines(groups, 3, seed=0)
    assert all(len(set(member[groups == group])) == 1 for group in range(12))


def test_structures_are_an_input_beside_the_embeddings():
    lines = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    structures = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    net = DrugResponseNet(5, torch.eye(4)[:, :2], members=3, hidden=6, structures=structures)
    plain = DrugResponseNet(5, torch.eye(4)[:, :2], members=3, hidden=6)
    torch.testing.assert_close(net(lines), plain(lines))  # they start from nothing
    with torch.no_grad():
        net.of_structure += 1.0
    added = structures.sum(dim=1)[:, None].expand(4, 2)
    torch.testing.assert_close(net.encode_drugs(), plain.drug + added)
    mean = plain.drug.mean(dim=1, keepdim=True).expand(3, 4, 2)
    torch.testing.assert_close(net.encode_unseen(structures), mean + added)
    # In training a tenth of the drugs is known by the structure alone.
    random = torch.Generator().manual_seed(0)
    unseen = sum((net.encode_drugs(random) - added - mean).abs().amax(2) < 1e-6 for _ in range(50))
    assert 0.05 < (unseen / 50).mean() < 0.15


def test_training_taken_up_again_ends_alike(task):
    whole, state = trained(task, max_epochs=20)
    kept = []

    def interrupt(now):
        kept.append(Training(**{**vars(now), "history": list(now.history), "tensors": dict(now.tensors)}))
        if now.epoch == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(task, max_epochs=20, keep=interrupt)
    again, state_again = trained(task, max_epochs=20, start=kept[-1])
    assert_same(weights(whole), weights(again))
    assert state.history == state_again.history and len(state.history) == 4


def test_random_numbers_of_others_change_nothing(task):
    one, _ = trained(task, max_epochs=5)
    torch.manual_seed(99)
    np.random.default_rng(99).random(10)
    other, _ = trained(task, max_epochs=5)
    assert_same(weights(one), weights(other))
    third, _ = trained(task, max_epochs=5, seed=1)
    assert not torch.equal(third.first, one.first)


def test_it_stops_when_the_validated_lines_gain_no_more():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 10)).astype(np.float32), rng.normal(size=(60, 5)).astype(np.float32)
    _, state = trained((*noise, np.eye(5)), max_epochs=400)
    assert state.epoch < 400 and state.epoch == state.best_epoch + 20


def test_a_loss_that_is_no_number(task):
    inputs, target, axes = task
    with pytest.raises(PmLabError, match="the loss of the network is inf after epoch 1: training diverged"):
        trained((inputs, target * 1e30, axes))


def test_devices(monkeypatch):
    assert choose_device("cpu").type == "cpu"
    for there, chosen in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == chosen
    with pytest.raises(DataError, match="device='gpu' is none: 'auto', 'cpu' or 'cuda'"):
        choose_device("gpu")
    with pytest.raises(DataError, match="device='meta' is not made use of: 'auto', 'cpu' or 'cuda'"):
        choose_device("meta")


def test_cuda_asked_for_and_absent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        DataError, match=r"device='cuda', but torch .* finds no CUDA device here. Pass device="
    ):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:0").index == 0
    with pytest.raises(DataError, match="device='cuda:3', but there are 1 CUDA devices here"):
        choose_device("cuda:3")


def test_mixed_precision_learns_the_same(task, monkeypatch):
    """What a GPU does, on the CPU: products in bfloat16, weights and moments in float32."""
    plain, _ = trained(task)
    seen = []
    monkeypatch.setattr(network, "halves", lambda device: True)
    monkeypatch.setattr(
        DrugResponseNet, "forward", lambda net, *given: seen.append(forward(net, *given)) or seen[-1]
    )
    mixed, state = trained(task)
    assert {output.dtype for output in seen} == {torch.bfloat16, torch.float32}  # training, validation
    assert all(tensor.dtype == torch.float32 for tensor in state.tensors.values())
    inputs = torch.as_tensor(task[0])
    one, other = (forward(net, inputs).detach().numpy().ravel() for net in (plain, mixed))
    assert np.corrcoef(one, other)[0, 1] > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_a_gpu_learns_the_same_and_its_results_are_on_the_cpu(built_in):
    models = [pm.drug_response.DrugResponseModel(device=device, members=4) for device in ("cpu", "auto")]
    new = built_in[:60].copy()
    new.obs_names = [f"new{i}" for i in range(60)]
    one, other = (model.fit(built_in).predict_matrix(new).to_numpy().ravel() for model in models)
    assert np.corrcoef(one, other)[0, 1] > 0.99
    assert {weight.device.type for weight in models[1]._learnt.net.parameters()} == {"cpu"}
