import pytest

from jaxml.nn.rotary import Rotary
from jaxml.zoo import rotary

SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 8,
    "max_position_embeddings": 128,
}
LLAMA = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Rotary(8)),
        ({"rope_theta": 5e5, "rope_scaling": None}, Rotary(8, 5e5)),
        ({"head_dim": 16, "partial_rotary_factor": 0.25}, Rotary(4)),
        (
            {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
            Rotary(8, 5e5, "linear", 2.0),
        ),
        (
            {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
            Rotary(8, 1e4, "dynamic", 2.0, 128),
        ),
        ({"rope_scaling": LLAMA}, Rotary(8, 1e4, "llama3", 8.0, 32, 1.0, 4.0)),
        (
            {"rope_parameters": {**LLAMA, "rope_theta": 5e5}},
            Rotary(8, 5e5, "llama3", 8.0, 32, 1.0, 4.0),
        ),
    ],
)
def test_old_and_new_configurations(config, expected):
    assert rotary.from_config({**SIZES, **config}) == expected


@pytest.mark.parametrize(
    "more",
    [
        {"rope_type": "yarn", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5},
        {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.8},
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16, "truncate": False},
        {
            "rope_type": "longrope",
            "short_factor": [1.0, 1.0, 1.2, 1.3],
            "long_factor": [1.0, 2.0, 3.0, 4.0],
        },
    ],
)
def test_factors_equal_those_of_transformers(more):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    theirs = {"rope_theta": 1e4, "original_max_position_embeddings": 32, **more}
    config = transformers.LlamaConfig(**SIZES, rope_parameters=dict(theirs))
    kind = more["rope_type"]
    _, factor = utils.ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=100)
    ours = rotary.from_config({**SIZES, "rope_parameters": theirs})
    assert ours.attention == pytest.approx(factor, rel=1e-6)


def test_rejects_what_it_does_not_know():
    with pytest.raises(ValueError, match="got 'proportional'"):
        rotary.from_config({**SIZES, "rope_scaling": {"rope_type": "proportional"}})
    with pytest.raises(ValueError, match="the same for all layers"):
        rotary.from_config({**SIZES, "rope_parameters": {"full_attention": LLAMA}})
