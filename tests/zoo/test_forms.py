"""The same numbers with stacked depth, over eight devices, and nearly in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import sharding
from jaxml.nn import rules as transformer_rules
from jaxml.zoo import checkpoint, loading, table, vectors
from tests.zoo.at_hand import FOLDER, cases

FORMS = {  # case -> largest error in bfloat16, over the largest value of the output
    "bert_mlm": 0.05,
    "gpt2_lm": 0.05,
    "llama_gqa": 0.05,
    "t5_relu_tied": 0.2,
    "hf_vit": 0.05,
}


@pytest.fixture(params=[name for name in FORMS if name in cases()])
def folder(request, tmp_path, parity_folder):
    """A Hugging Face folder made of a case, and the case."""
    case = vectors.read(FOLDER / "open" / request.param)
    checkpoint.write(tmp_path, case.tensors, config=case.config)
    return tmp_path, case


def assert_close(loaded, case, relative=None, given=None):
    """Every output within its own bound, or within `relative` of its largest value."""
    if given is None:
        given = loaded.family.outputs(loaded.model, loaded.variables, case.inputs)
    names = set(case.outputs) & set(given)
    names = {name for name in names if not relative or "logits" in name}
    assert "logits" in names
    for name in names:
        bound = case.about["outputs"][name]["atol"]
        if relative:
            bound = relative * case.about["outputs"][name]["absmax"]
        error = np.abs(np.float32(given[name]) - case.outputs[name])
        where = case.about.get("compare_only_where")
        if where and error.shape[:2] == case.inputs[where["input"]].shape:
            error = error[case.inputs[where["input"]] == 1]
        assert error.max() <= bound, name


def test_many_weights_run_at_once(folder):
    path, case = folder
    loaded = loading.load(path)
    many = jax.tree.map(lambda x: jnp.stack([x * 0.9, x]), loaded.variables)

    def run(variables):
        if case.name not in ("gpt2_lm", "llama_gqa"):
            return loaded.family.outputs(loaded.model, variables, case.inputs)
        # outputs of causal models hold sums in float64, which NumPy makes
        ids, mask = (
            jnp.asarray(case.inputs[k]) for k in ("input_ids", "attention_mask")
        )
        return {"logits": loaded.model.apply(variables, ids, mask != 0).logits}

    given = {name: x[1] for name, x in jax.jit(jax.vmap(run))(many).items()}
    assert_close(loaded, case, given=given)


def test_depth_may_be_stacked(folder):
    path, case = folder
    loaded = loading.load(path, scan=True)
    assert any("/layers/" in name for name in table.flatten(loaded.variables))
    assert_close(loaded, case)
    tensors = table.revert(
        loaded.family.rows(loaded.model), loaded.variables, loaded.extras
    )
    assert tensors.keys() == case.tensors.keys()
    for name, array in case.tensors.items():
        assert tensors[name].tobytes() == array.tobytes(), name


def test_the_shipped_rules_lay_weights_over_eight_devices(folder):
    path, case = folder
    mesh = sharding.mesh(data=2, model=4)
    rules = transformer_rules.fsdp_tensor_parallel("data", "model")
    loaded = loading.load(path, mesh=mesh, rules=rules)
    leaves = table.flatten(loaded.variables)
    split = [name for name, leaf in leaves.items() if not leaf.is_fully_replicated]
    assert len(split) > len(leaves) // 3
    assert_close(loaded, case)


def test_half_precision_is_near(folder):
    path, case = folder
    loaded = loading.load(path, dtype=jnp.bfloat16)
    assert_close(loaded, case, FORMS[case.name])
