"""The families of networks whose weights the zoo reads, imported when asked for.

    family = families.serving("transformers", "BertModel")

Each file here holds one `FAMILY` (`jaxml.zoo.family`).
"""

import difflib
import functools
import importlib

from jaxml.zoo.family import Family
from jaxml.zoo.problem import nearest

__all__ = ["FAMILIES", "load", "serving", "sizes", "unknown"]

# name -> module in this folder, and the classes or architectures that it serves
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "diffusers/autoencoder_kl": ("diffusers_autoencoder_kl", ("AutoencoderKL",)),
    "diffusers/dit": ("diffusers_dit", ("DiTTransformer2DModel",)),
    "diffusers/unet2d": ("diffusers_unet2d", ("UNet2DModel",)),
    "diffusers/unet2d_condition": (
        "diffusers_unet2d_condition",
        ("UNet2DConditionModel",),
    ),
    "diffusers/vq_model": ("diffusers_vq_model", ("VQModel",)),
    "pytorch/examples/dcgan": ("torch_dcgan", ("Generator", "Discriminator")),
    "rosinality/stylegan2-pytorch/stylegan2": ("torch_stylegan2", ("Generator",)),
    "rosinality/vq-vae-2-pytorch/vqvae2": ("torch_vqvae2", ("VQVAE",)),
    "torch/rnn": ("torch_rnn", ("RNN", "LSTM", "GRU")),
    "torch/sequential": ("torch_sequential", ("Sequential",)),
    "transformers/bart": ("transformers_bart", ("BartForConditionalGeneration",)),
    "transformers/bert": (
        "transformers_bert",
        (
            "BertModel",
            "BertForPreTraining",
            "BertForMaskedLM",
            "BertForNextSentencePrediction",
            "BertForSequenceClassification",
            "BertForMultipleChoice",
            "BertForTokenClassification",
            "BertForQuestionAnswering",
        ),
    ),
    "transformers/distilbert": (
        "transformers_distilbert",
        (
            "DistilBertModel",
            "DistilBertForMaskedLM",
            "DistilBertForSequenceClassification",
            "DistilBertForMultipleChoice",
            "DistilBertForTokenClassification",
            "DistilBertForQuestionAnswering",
        ),
    ),
    "transformers/roberta": (
        "transformers_roberta",
        tuple(
            network + end
            for network in ("Roberta", "XLMRoberta")
            for end in (
                "Model",
                "ForMaskedLM",
                "ForSequenceClassification",
                "ForMultipleChoice",
                "ForTokenClassification",
                "ForQuestionAnswering",
            )
        ),
    ),
    "transformers/switch": (
        "transformers_switch",
        ("SwitchTransformersForConditionalGeneration",),
    ),
    "transformers/t5": (
        "transformers_t5",
        tuple(
            network + end
            for network in ("T5", "MT5")
            for end in ("ForConditionalGeneration", "Model", "EncoderModel")
        ),
    ),
    "transformers/gpt2": (
        "transformers_gpt2",
        ("GPT2LMHeadModel", "GPT2Model", "GPT2ForSequenceClassification"),
    ),
    "transformers/llama": (
        "transformers_llama",
        ("LlamaForCausalLM", "LlamaModel", "LlamaForSequenceClassification"),
    ),
    "transformers/mistral": (
        "transformers_mistral",
        ("MistralForCausalLM", "MistralModel", "MistralForSequenceClassification"),
    ),
    "transformers/mixtral": (
        "transformers_mixtral",
        ("MixtralForCausalLM", "MixtralModel", "MixtralForSequenceClassification"),
    ),
    "transformers/qwen2": (
        "transformers_qwen2",
        ("Qwen2ForCausalLM", "Qwen2Model", "Qwen2ForSequenceClassification"),
    ),
    "transformers/qwen3": (
        "transformers_qwen3",
        ("Qwen3ForCausalLM", "Qwen3Model", "Qwen3ForSequenceClassification"),
    ),
    "timm/convnext": ("timm_convnext", ("ConvNeXt",)),
    "timm/efficientnet": ("timm_efficientnet", ("EfficientNet",)),
    "timm/mobilenet_v1": (
        "timm_mobilenet_v1",
        ("mobilenetv1_100", "mobilenetv1_125"),
    ),
    "timm/mobilenet_v2": (
        "timm_mobilenet_v2",
        (
            "mobilenetv2_035",
            "mobilenetv2_050",
            "mobilenetv2_075",
            "mobilenetv2_100",
            "mobilenetv2_110d",
            "mobilenetv2_120d",
            "mobilenetv2_140",
        ),
    ),
    "timm/resnet": ("timm_resnet", ("ResNet", "FeatureListNet")),
    "torchvision/convnext": ("torchvision_convnext", ("ConvNeXt",)),
    "torchvision/efficientnet": ("torchvision_efficientnet", ("EfficientNet",)),
    "torchvision/mobilenet_v2": ("torchvision_mobilenet_v2", ("MobileNetV2",)),
    "torchvision/resnet": ("torchvision_resnet", ("ResNet",)),
    "transformers/convnext": (
        "transformers_convnext",
        (
            "ConvNextForImageClassification",
            "ConvNextModel",
            "ConvNextV2ForImageClassification",
            "ConvNextV2Model",
        ),
    ),
    "transformers/efficientnet": (
        "transformers_efficientnet",
        ("EfficientNetForImageClassification", "EfficientNetModel"),
    ),
    "transformers/mobilenet_v1": (
        "transformers_mobilenet_v1",
        ("MobileNetV1ForImageClassification", "MobileNetV1Model"),
    ),
    "transformers/mobilenet_v2": (
        "transformers_mobilenet_v2",
        ("MobileNetV2ForImageClassification", "MobileNetV2Model"),
    ),
    "transformers/resnet": (
        "transformers_resnet",
        ("ResNetForImageClassification", "ResNetModel"),
    ),
    "transformers/vit": ("transformers_vit", ("ViTModel", "ViTForImageClassification")),
    "transformers/deit": (
        "transformers_deit",
        (
            "DeiTModel",
            "DeiTForImageClassification",
            "DeiTForImageClassificationWithTeacher",
        ),
    ),
    "transformers/dinov2": (
        "transformers_dinov2",
        (
            "Dinov2Model",
            "Dinov2ForImageClassification",
            "Dinov2WithRegistersModel",
            "Dinov2WithRegistersForImageClassification",
        ),
    ),
    "torchvision/vit": (
        "torchvision_vit",
        (
            "VisionTransformer",
            "vit_b_16",
            "vit_b_32",
            "vit_l_16",
            "vit_l_32",
            "vit_h_14",
        ),
    ),
    "transformers/clip": (
        "transformers_clip",
        (
            "CLIPModel",
            "CLIPTextModel",
            "CLIPTextModelWithProjection",
            "CLIPVisionModel",
            "CLIPVisionModelWithProjection",
            "CLIPForImageClassification",
        ),
    ),
    "timm/vit": (
        "timm_vit",
        (
            "VisionTransformer",
            "vit_tiny_patch16_224",
            "vit_tiny_patch16_384",
            "vit_small_patch16_224",
            "vit_small_patch16_384",
            "vit_small_patch32_224",
            "vit_small_patch8_224",
            "vit_base_patch16_224",
            "vit_base_patch16_384",
            "vit_base_patch32_224",
            "vit_base_patch8_224",
            "vit_large_patch16_224",
            "vit_large_patch32_224",
            "vit_large_patch14_224",
            "vit_huge_patch14_224",
        ),
    ),
    "timm/deit": (
        "timm_deit",
        (
            "VisionTransformerDistilled",
            "deit_tiny_distilled_patch16_224",
            "deit_small_distilled_patch16_224",
            "deit_base_distilled_patch16_224",
            "deit_base_distilled_patch16_384",
            "deit_tiny_patch16_224",
            "deit_small_patch16_224",
            "deit_base_patch16_224",
            "deit_base_patch16_384",
        ),
    ),
    "timm/dinov2": (
        "timm_dinov2",
        (
            "vit_small_patch14_dinov2",
            "vit_base_patch14_dinov2",
            "vit_large_patch14_dinov2",
            "vit_giant_patch14_dinov2",
            "vit_small_patch14_reg4_dinov2",
            "vit_base_patch14_reg4_dinov2",
            "vit_large_patch14_reg4_dinov2",
            "vit_giant_patch14_reg4_dinov2",
        ),
    ),
    "facebookresearch/dino/vit": (
        "dino_vit",
        ("VisionTransformer", "dino_vits16", "dino_vits8", "dino_vitb16", "dino_vitb8"),
    ),
}


@functools.cache
def load(name: str) -> Family:
    """The family of this name.

    Raises:
        KeyError: there is none; the nearest are named.
    """
    if name not in FAMILIES:
        raise KeyError(f"no such family {name}{nearest(name, FAMILIES)}")
    module = importlib.import_module(f"jaxml.zoo.families.{FAMILIES[name][0]}")
    return module.FAMILY


def serving(library: str, name: str) -> Family | None:
    """The family that reads a class, or an architecture, of a library; None if none.

    >>> serving("torch", "Sequential").name
    'torch/sequential'
    """
    for family, (_, classes) in FAMILIES.items():
        if family.rpartition("/")[0] == library and name in classes:
            return load(family)
    return None


def sizes(within: str = "") -> dict[str, list[str]]:
    """The families that have a network of each name.

    Args:
        within: a library, or a family; default: all.

    Raises:
        KeyError: there is no such library or family.
    """
    chosen = [name for name in FAMILIES if f"{name}/".startswith(f"{within}/")]
    if within and not chosen:
        load(within)  # says which are near
    found: dict[str, list[str]] = {}
    for family in chosen if within else FAMILIES:
        for size in load(family).sizes:
            found.setdefault(size, []).append(family)
    return found


def unknown(library: str, name: str) -> str:
    """What to say of a class that no family serves."""
    served = [
        (family, known)
        for family, (_, classes) in FAMILIES.items()
        for known in classes
    ]
    alike = lambda pair: (
        difflib.SequenceMatcher(None, name.lower(), pair[1].lower()).ratio()
        + (pair[0].rpartition("/")[0] == library) / 4
    )
    family, known = max(served, key=alike)
    return f"no such family: {library} {name}; nearest is {family} ({known})"
