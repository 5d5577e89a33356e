from __future__ import annotations

import builtins
import json
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors import torch as safetensors
from torch import nn

from mezzotint import weights
from mezzotint.errors import UsageError, WeightsError
from mezzotint.weights import Card


def card(**changes) -> Card:
    return Card(**{"name": "little", "method": "sr3", "config": {"channels": 4}, **changes})


def network(width: int = 4) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 3, 1))


@pytest.fixture
def file(tmp_path):
    return weights.save(tmp_path / "little.safetensors", network().state_dict(), card())


def header_of(file):
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(file, header, data) -> None:
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def change_card(file, **changes) -> None:
    header, data = header_of(file)
    content = {**json.loads(header["__metadata__"]["mezzotint"]), **changes}
    header["__metadata__"]["mezzotint"] = json.dumps(content)
    rewrite(file, header, data)


def refusal(file, **arguments) -> str:
    with pytest.raises(WeightsError) as caught:
        weights.load(file, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert str(file) in message
    return message


def test_float32_comes_back_bit_for_bit_with_its_card(tmp_path):
    tensors = network().state_dict()
    sent = card(figures={"Set5 y-modern psnr": 30.25}, authors=("A. Painter",), realism_default=0.5, spread_factor=1.4)
    file = weights.save(tmp_path / "a.safetensors", tensors, sent, precision="float32")
    back, received = weights.load(file)
    assert received.model_copy(update={"digest": ""}) == sent
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert back["1.num_batches_tracked"].dtype == torch.int64


def test_half_precision_is_stored_and_float32_is_loaded(tmp_path):
    tensors = network().state_dict()
    file = weights.save(tmp_path / "a.safetensors", tensors, card(), keep_float32=["2.*"])
    stored = safetensors.load_file(file)
    assert stored["0.weight"].dtype == torch.float16
    assert stored["2.weight"].dtype == stored["2.bias"].dtype == torch.float32
    back, _ = weights.load(file)
    assert all(tensor.dtype == torch.float32 for name, tensor in back.items() if name != "1.num_batches_tracked")
    assert torch.equal(back["0.weight"], tensors["0.weight"].half().float())
    assert not torch.equal(back["0.weight"], tensors["0.weight"])
    assert torch.equal(back["2.weight"], tensors["2.weight"])


def test_a_pattern_that_keeps_nothing_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"'head\.\*'"):
        weights.save(tmp_path / "a.safetensors", network().state_dict(), card(), keep_float32=["head.*"])


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinity"), (7e4, "keep_float32")])
def test_values_that_cannot_be_stored_are_named(tmp_path, value, word):
    with pytest.raises(WeightsError, match=word) as caught:
        weights.save(tmp_path / "a.safetensors", {"deep.weight": torch.tensor([1.0, value])}, card())
    assert "deep.weight" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_equal_weights_are_equal_files(tmp_path):
    one = weights.save(tmp_path / "one.safetensors", network().state_dict(), card())
    two = weights.save(tmp_path / "two.safetensors", network().state_dict(), card())
    assert one.read_bytes() == two.read_bytes()
    assert weights.sha256(one) == weights.sha256(two)


def test_a_failed_save_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.os, "replace", fail)
    with pytest.raises(WeightsError, match="No space left"):
        weights.save(file, {"a": torch.zeros(1)}, card())
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_saving_into_no_folder_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="cannot be written"):
        weights.save(tmp_path / "none" / "a.safetensors", {"a": torch.zeros(1)}, card())


def test_a_folder_stands_for_its_file(tmp_path, file):
    file.rename(tmp_path / weights.FILE_NAME)
    assert weights.load(tmp_path)[1].name == "little"


def test_missing_empty_and_foreign_files(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.safetensors")
    assert "without model.safetensors" in refusal(tmp_path)
    (tmp_path / "empty.safetensors").touch()
    assert "empty file" in refusal(tmp_path / "empty.safetensors")
    (tmp_path / "page.safetensors").write_text("<html>404</html>")
    assert "not a safetensors file" in refusal(tmp_path / "page.safetensors")
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "git lfs pull" in refusal(tmp_path / "pointer.safetensors")
    safetensors.save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    assert "without a Mezzotint card" in refusal(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("keep", [1, 8, 9, 200, -1, -100])
def test_truncated_files(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    assert any(word in refusal(file) for word in ("truncated", "not a safetensors file"))


@pytest.mark.parametrize("place", [-3, -200])
def test_a_flipped_bit_in_the_tensors_is_found(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert "damaged" in refusal(file)


def test_a_damaged_header_is_found(file):
    content = bytearray(file.read_bytes())
    content[20:24] = b"\x00\xff\x00\xff"
    file.write_bytes(content)
    assert "damaged" in refusal(file)
    header, data = {"a": {"dtype": "F32"}}, b""
    rewrite(file, header, data)
    assert "damaged" in refusal(file)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_pickles_are_refused_unopened(tmp_path, protocol):
    file = tmp_path / "net.pth"
    file.write_bytes(pickle.dumps(Trap(), protocol=protocol))
    assert "pickle" in refusal(file)
    assert "weights_only=True" in refusal(file)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_save_are_refused_whatever_their_name(tmp_path, name, zipped):
    torch.save(network().state_dict(), tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert "pickle" in refusal(tmp_path / name)


def test_a_header_that_begins_like_a_pickle_is_read(tmp_path):
    # 0x280 as the length of the header gives the bytes 80 02, those of a pickle of protocol 2.
    for extra in range(2000):
        file = weights.save(tmp_path / "a.safetensors", {"a": torch.ones(3)}, card(data="d" * extra))
        if file.read_bytes()[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04"):
            break
    else:
        pytest.fail("no length of the card gave the bytes of a pickle")
    assert weights.load(file)[1].data == "d" * extra


def test_weights_of_another_method(file):
    message = refusal(file, method="mezzotint-x4")
    assert "'sr3'" in message and "'mezzotint-x4'" in message
    assert weights.load(file, method="sr3")


def test_a_card_from_the_future(file):
    change_card(file, format=99, version="7.1", brightness=3)
    message = refusal(file)
    assert "newer" in message and "7.1" in message and "99" in message


def test_a_card_with_an_unknown_key(file):
    change_card(file, brightness=3)
    assert "'brightness'" in refusal(file)


@pytest.mark.parametrize(
    "change", [{"scale": -1}, {"scale": "four"}, {"realism_default": 2}, {"spread_factor": 0}, {"name": ""}]
)
def test_a_card_with_a_wrong_value(file, change):
    change_card(file, **change)
    assert repr(next(iter(change))) in refusal(file)


def test_cards_are_frozen_and_strict():
    with pytest.raises(ValueError):
        card(brightness=3)
    with pytest.raises(ValueError):
        card().name = "other"


def test_restore_puts_tensors_into_a_module_on_the_meta_device(file):
    with torch.device("meta"):
        empty = network()
    weights.restore(empty, weights.load(file)[0], source=file)
    full = network().eval()
    weights.restore(full, weights.load(file)[0], source=file)
    x = torch.randn(1, 3, 5, 5)
    assert torch.equal(empty.eval()(x), full(x))
    assert all(parameter.requires_grad for parameter in empty.parameters())


def test_restore_names_the_tensor_that_does_not_fit(file):
    tensors, _ = weights.load(file)
    with pytest.raises(WeightsError, match=r"'0\.weight' has shape 4x3x3x3, the network needs 6x3x3x3"):
        weights.restore(network(6), tensors, source=file)
    lacking = {name: tensor for name, tensor in tensors.items() if name != "2.bias"}
    with pytest.raises(WeightsError, match=r"lacks the tensor '2\.bias'"):
        weights.restore(network(), lacking, source=file)
    with pytest.raises(WeightsError, match="unknown tensor 'extra'"):
        weights.restore(network(), {**tensors, "extra": torch.zeros(1)}, source=file)


def test_everything_in_the_package_verifies():
    for verdict in weights.verify():
        assert verdict.problem is None, verdict
        assert len(verdict.sha256) == 64
    assert sum(entry.path.stat().st_size for entry in weights.shipped()) <= 24e6


def test_the_network_of_a_metric_is_no_method(tmp_path):
    file = tmp_path / "metric.safetensors"
    safetensors.save_file({"a": torch.ones(2)}, file, {"mezzotint": '{"kind": "metric", "name": "lpips"}'})
    assert "quality metric" in refusal(file)
    assert weights.verify([file])[0].problem is None
    file.write_bytes(file.read_bytes()[:-1])
    assert "truncated" in str(weights.verify([file])[0].problem)


def test_verify_tells_what_is_wrong(file, tmp_path):
    fine, missing = weights.verify([file, tmp_path / "none.safetensors"])
    assert fine.problem is None and fine.sha256 == weights.sha256(file)
    assert missing.problem is not None and "no such file" in missing.problem and missing.sha256 == ""


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("anna/portraits-x4", True),
        ("anna", False),
        ("a/b/c", False),
        ("../b", False),
        ("/b", False),
        ("a/", False),
    ],
)
def test_hub_ids(text, is_id):
    assert weights.is_hub_id(text) is is_id


def test_hub_without_the_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match=r"mezzotint\[hub\]"):
        weights.hub("anna/portraits-x4")


def test_hub_reads_its_local_cache_without_a_network(tmp_path):
    pytest.importorskip("huggingface_hub")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--anna--portraits-x4"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    weights.save(snapshot / weights.FILE_NAME, network().state_dict(), card(name="portraits-x4"))
    program = (
        "import sys; from mezzotint import weights\n"
        "print(weights.load(weights.hub('anna/portraits-x4', cache=sys.argv[1]))[1].name)\n"
        "try:\n    weights.hub('anna/unknown', cache=sys.argv[1])\n"
        "except weights.WeightsError as error:\n    print('refused', error)\n"
    )
    # A process of its own, because huggingface_hub reads HF_HUB_OFFLINE once, when it is imported.
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**__import__("os").environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = run.stdout.splitlines()
    assert first == "portraits-x4"
    assert second.startswith("refused hub id 'anna/unknown'")
