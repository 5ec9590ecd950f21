"""What the zoo says it has: every name builds, and counts what is published."""

import pytest

from jaxml import zoo
from jaxml.zoo import catalog, families, loading

PUBLISHED = {  # parameters, of the papers' tables or the libraries' pages
    "timm/resnet/resnet50": 25_557_032,
    "torchvision/convnext/convnext_tiny": 28_589_128,
    "timm/vit/vit_base_patch16_224": 86_567_656,
    "transformers/gpt2/gpt2": 124_439_808,
    "transformers/llama/Llama-3.2-1B": 1_235_814_400,
    "torch/sequential/lenet5": 61_706,
}


@pytest.mark.parametrize("name", [n for n in PUBLISHED if n in zoo.list()])
def test_describe_counts_what_is_published(name):
    about = zoo.describe(name)
    assert about.parameters == PUBLISHED[name]
    assert about.bytes >= 4 * about.parameters
    # each weight of a matrix is multiplied and added at least once; tables of
    # embeddings are not
    assert about.flops > about.parameters / 2
    assert about.name == name


def test_names_are_all_different():
    assert len(zoo.list()) == len(set(zoo.list()))


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_size_builds_and_the_first_is_shaped(name):
    family = families.load(name)
    for place, size in enumerate(family.sizes):
        request = loading.request({"architecture": size}, name)
        assert request.family is family
        model = family.build(request.config, request.name)
        if place == 0:
            assert loading.shapes_of(family, model)["params"]


def test_a_name_that_is_not_known_is_told_with_the_nearest():
    with pytest.raises(KeyError, match="no network lenet6; near: torch/sequential/len"):
        catalog.describe("lenet6")
    with pytest.raises(ValueError, match="no such network lenet6; near: lenet5"):
        loading.request("lenet6")
    with pytest.raises(ValueError, match="no such family torch/sequences"):
        loading.request("lenet5", "torch/sequences")
    assert loading.request("lenet5").family.name == "torch/sequential"


def test_a_name_of_several_libraries_asks_which():
    if not {"timm/resnet", "torchvision/resnet"} <= set(families.FAMILIES):
        pytest.skip("both libraries of ResNet are not here")
    with pytest.raises(ValueError, match="resnet50 is a network of "):
        loading.request("resnet50")
    with pytest.raises(KeyError, match="resnet50 is the name of"):
        catalog.describe("resnet50")
    tagged = {
        "architecture": "resnet50.a1_in1k",
        "pretrained_cfg": {},
        "num_classes": 7,
    }
    assert loading.request(tagged).family.name == "timm/resnet"
