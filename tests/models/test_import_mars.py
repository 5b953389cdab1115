import json
import math

import mars_release as release
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from shared_data import SHARED

from mars_lmm.models.checkpoint import load_order_model, order_tokenizer
from mars_lmm.models.export import export
from mars_lmm.models.import_mars import main, max_abs_difference
from mars_lmm.models.mars_layout import FILLED_SHARE_KEYS, SIZE_SHARE_KEYS, expected_shapes

SHARES = (SIZE_SHARE_KEYS[0], FILLED_SHARE_KEYS[0])
UNUSED = [
    "decoder.model.embed_tokens.weight",
    "linear_head.0.bias",
    "linear_head.0.weight",
    "linear_head.1.bias",
    "linear_head.1.weight",
]


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    return status, json.loads(lines[-1]) if lines else None, captured.err


def write_expected(folder, tensors, shares=None):
    """Features and the logits that the reference gives."""
    features = release.random_features(2)
    logits = torch.stack([release.reference_logits(tensors, row, shares) for row in features])
    path = folder / "expected.safetensors"
    save_file({"features": features, "logits": logits}, path)
    return path


def test_the_fixture_gives_the_released_codes_logits(tmp_path, capsys):
    source = SHARED / "data" / "mars" / "order_model_tiny.safetensors"
    if not source.exists():
        pytest.skip("the MarS fixture is not at hand; set MARS_LMM_SHARED")
    expected = source.with_suffix(".expected.safetensors")
    status, result, _ = run(capsys, source, tmp_path / "tiny.ckpt", "--check", expected)
    assert status == 0
    assert result["max_abs_diff"] < 1e-4
    assert result["parameters"] == 328_864
    assert result["unused"] == UNUSED
    assert result["embedding"] == "mars"


@pytest.mark.parametrize("shares", [None, SHARES], ids=["published class", "with the two tables"])
def test_logits_are_those_of_the_described_model(tmp_path, capsys, shares):
    tensors = release.released_tensors(shares)
    source = release.write_release(tmp_path, tensors)
    expected = write_expected(tmp_path, tensors, shares)
    status, result, _ = run(capsys, source, tmp_path / "new" / "model.ckpt", "--check", expected)
    assert status == 0
    assert result["max_abs_diff"] < 1e-4
    assert result["embedding"] == ("mars_shares" if shares else "mars")
    assert result["parameters"] == sum(tensor.numel() for tensor in tensors.values())
    unused = sum(tensors[key].numel() for key in result["unused"])
    assert result["model_parameters"] == result["parameters"] - unused

    # The check notices a table that is off.
    tensors[shares[1] if shares else "order_info_tokenizer.emb_price_level.weight"][3] += 0.5
    source = release.write_release(tmp_path, tensors)
    status, result, error = run(capsys, source, tmp_path / "model.ckpt", "--check", expected)
    assert (status, result["max_abs_diff"] > 1e-4) == (1, True)
    assert "logits differ" in error


@pytest.mark.parametrize(
    ("width", "layers", "parameters"), [(16, 1, 2_524_624), (32, 1, 5_008_288), (64, 2, 10_065_856)]
)
def test_the_layout_with_the_two_tables_has_the_published_counts(width, layers, parameters):
    sizes = {"width": width, "mlp": 4 * width, "prices": 32, "sizes": 32, "intervals": 16}
    shares = {name: (key,) for name, key in zip(("size_share", "filled_share"), SHARES, strict=True)}
    shapes = expected_shapes(sizes, layers, shares).values()
    assert sum(math.prod(shape) for shape in shapes) == parameters
    assert len(shapes) == 19 + 9 * layers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path, capsys, dtype):
    halves = {key: tensor.to(dtype) for key, tensor in release.released_tensors().items()}
    expected = write_expected(tmp_path, {key: tensor.float() for key, tensor in halves.items()})
    status, result, _ = run(
        capsys, release.write_release(tmp_path, halves), tmp_path / "model.ckpt", "--check", expected
    )
    assert (status, result["max_abs_diff"] < 1e-4) == (0, True)
    model, _ = load_order_model(tmp_path / "model.ckpt")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_missing_and_unknown_keys_are_all_listed(tmp_path, capsys):
    tensors = release.released_tensors()
    removed = ["decoder.model.layers.1.self_attn.k_proj.weight", "linear_head.1.bias", "decoder.model.norm.weight"]
    added = ["decoder.model.layers.7.mlp.up_proj.weight", "order_info_tokenizer.emb_weather.weight", "extra"]
    changed = {key: tensor for key, tensor in tensors.items() if key not in removed}
    changed |= {key: torch.zeros(2) for key in added}
    status, result, error = run(capsys, release.write_release(tmp_path, changed), tmp_path / "model.ckpt")
    assert (status, result) == (2, None)
    assert all(key in error for key in removed + added)
    assert "--volume-ratio-key" in error
    assert not (tmp_path / "model.ckpt").exists()


def test_the_tables_of_shares_may_have_any_name_that_is_given(tmp_path, capsys):
    shares = ("order_info_tokenizer.emb_a.weight", "order_info_tokenizer.emb_b.weight")
    tensors = release.released_tensors(shares)
    source = release.write_release(tmp_path, tensors)
    named = ["--volume-ratio-key", shares[0], "--trans-ratio-key", shares[1]]
    expected = write_expected(tmp_path, tensors, shares)
    assert run(capsys, source, tmp_path / "model.ckpt", "--check", expected, *named)[0] == 0
    assert run(capsys, source, tmp_path / "model.ckpt")[0] == 2

    alone = {key: tensor for key, tensor in release.released_tensors(SHARES).items() if key != SHARES[1]}
    status, _, error = run(capsys, release.write_release(tmp_path, alone), tmp_path / "model.ckpt")
    assert (status, SHARES[1] in error) == (2, True)


def test_wrong_shapes_and_dtypes_are_all_listed(tmp_path, capsys):
    tensors = release.released_tensors()
    wrong = {
        "decoder.lm_head.weight": torch.zeros(release.VOCABULARY + 1, release.WIDTH),
        "order_info_tokenizer.emb_time_to_open.weight": torch.zeros(2880, release.WIDTH),
        "decoder.model.layers.2.self_attn.v_proj.weight": torch.zeros(release.WIDTH // 2, release.WIDTH),
        "decoder.model.norm.weight": torch.zeros(release.WIDTH, dtype=torch.int64),
    }
    status, _, error = run(capsys, release.write_release(tmp_path, tensors | wrong), tmp_path / "model.ckpt")
    assert status == 2
    assert all(key in error for key in wrong)


def test_the_shape_comes_from_metadata_config_or_options(tmp_path, capsys):
    tensors = release.released_tensors()
    source = release.write_release(tmp_path, tensors, metadata=None)
    destination = tmp_path / "model.ckpt"
    status, _, error = run(capsys, source, destination)
    assert status == 2
    assert "num_heads: give --heads" in error
    assert "num_max_orders: give --window" in error
    expected = write_expected(tmp_path, tensors)
    assert run(capsys, source, destination, "--check", expected, "--heads", 2, "--window", 24)[0] == 0
    (tmp_path / "config.json").write_text(json.dumps(release.SHAPE | {"dropout": 0.1}))
    assert run(capsys, source, destination, "--check", expected)[0] == 0
    assert load_order_model(destination)[0].config.window == release.ORDERS
    status, _, error = run(capsys, source, destination, "--heads", 4)
    assert (status, "num_heads is 2, --heads says 4" in error) == (2, True)
    (tmp_path / "config.json").write_text(json.dumps(release.SHAPE | {"num_layers": 4}))
    status, _, error = run(capsys, source, destination)
    assert (status, "num_layers is 4, the tensors say 3" in error) == (2, True)


def test_what_is_no_safetensors_file_is_an_error(tmp_path, capsys):
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here")
    assert run(capsys, tmp_path / "model.safetensors", tmp_path / "model.ckpt")[0] == 2
    assert run(capsys, tmp_path / "absent.safetensors", tmp_path / "model.ckpt")[0] == 2


def test_converters_become_the_checkpoints_tokenizer(tmp_path, capsys):
    source = release.write_release(tmp_path, release.released_tensors())
    folder = release.write_converters(tmp_path / "converters")
    (folder / "minute-trans-volume.zstd").write_bytes(b"never opened")
    status, result, _ = run(capsys, source, tmp_path, "--converters", folder)
    assert (status, result["converters"]) == (0, True)
    _, saved = load_order_model(tmp_path / "model.ckpt")
    tokenizer = order_tokenizer(saved)
    assert tokenizer.bins == (3, release.PRICES, release.VOLUMES, release.INTERVALS)
    files = sorted(folder.glob("*.zstd"))
    run(capsys, source, tmp_path / "again.ckpt", "--converters", *files)
    assert order_tokenizer(load_order_model(tmp_path / "again.ckpt")[1]).checksum == tokenizer.checksum

    (folder / "lob-volume.zstd").unlink()
    status, _, error = run(capsys, source, tmp_path / "model.ckpt", "--converters", folder)
    assert (status, "no lob-volume.zstd" in error) == (2, True)
    others = release.released_converters() | {"price-level": release.released_converters()["lob-volume"]}
    others["price-level"].bins = others["price-level"].bins[:-1]
    others["price-level"].num_bins, others["price-level"].bin_values = 4, others["price-level"].bin_values[:4]
    others["price-level"].bin_probs = others["price-level"].bin_probs[:4]
    release.write_converters(folder, others)
    status, _, error = run(capsys, source, tmp_path / "model.ckpt", "--converters", folder)
    assert (status, "price has 4 bins, the model 5" in error) == (2, True)


def test_a_model_without_converters_says_so_when_orders_are_asked_for(tmp_path, capsys):
    run(capsys, release.write_release(tmp_path, release.released_tensors()), tmp_path / "model.ckpt")
    tokenizer = order_tokenizer(load_order_model(tmp_path / "model.ckpt")[1])
    with pytest.raises(ValueError, match="--converters"):
        tokenizer.tables()


def test_an_imported_model_is_exported_like_any_other(tmp_path, capsys):
    tensors = release.released_tensors(SHARES)
    run(capsys, release.write_release(tmp_path, tensors), tmp_path / "model.ckpt")
    export(tmp_path / "model.ckpt", tmp_path / "folder")
    model, _ = load_order_model(tmp_path / "folder")
    assert max_abs_difference(model, write_expected(tmp_path, tensors, SHARES)) < 1e-4


def test_unused_tensors_do_not_reach_the_checkpoint(tmp_path, capsys):
    tensors = release.released_tensors()
    source = release.write_release(tmp_path, tensors)
    run(capsys, source, tmp_path / "model.ckpt")
    with safe_open(source, "pt") as file:
        assert set(UNUSED) < set(file.keys())
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)["state_dict"]
    for key in UNUSED:
        assert not any(value.shape == tensors[key].shape and value.equal(tensors[key]) for value in saved.values())
    assert load_file(source).keys() == tensors.keys()
