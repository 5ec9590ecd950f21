"""CLIP, and each of its towers, as the transformers library writes them.

model = FAMILY.build(config, "CLIPModel")
rows = FAMILY.rows(model)
outputs = FAMILY.outputs(model, variables, {"input_ids": ..., "pixel_values": ...})
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models.language.clip_text import ClipText
from jaxml.models.multimodal import clip
from jaxml.zoo.families import vit_parts
from jaxml.zoo.families.vit_parts import dense, norm
from jaxml.zoo.family import Family, Statistics
from jaxml.zoo.rows import Alias, Change, Ignored, Line, Row, conv

__all__ = ["FAMILY"]

_row = Change(lambda x: x[None], lambda x: x[0])  # [d] -> [1, d]
_VISION, _TEXT = "vision_model.", "text_model."


def build(config: Mapping[str, Any], name: str) -> nn.Module:
    """The network of a config.json: of both towers, or of one.

    Args:
        config: as the file has it.
        name: of the class in transformers.
    """
    tower = _text if "Text" in name else _vision
    if name in ("CLIPTextModel", "CLIPVisionModel"):
        return tower(_part(config, name))
    if name.endswith("WithProjection"):
        part = _part(config, name)
        return clip.Projected(tower(part), part.get("projection_dim", 512))
    vision = _vision(config["vision_config"])
    if name == "CLIPForImageClassification":
        return clip.ImageClassifier(vision, vit_parts.classes_of(config))
    return clip.CLIP(
        vision,
        _text(config["text_config"]),
        config.get("projection_dim", 512),
        config.get("logit_scale_init_value", 2.6592),
    )


def _part(config, name):
    """The settings of one tower, in its own config.json or in that of both."""
    return config.get("text_config" if "Text" in name else "vision_config", config)


def _vision(config):
    fields = vit_parts.encoder_fields(
        {"patch_size": 32, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"}
        | dict(config)
    )
    fields["hidden"] = config.get("intermediate_size", 3072)
    fields["attention_dropout"] = config.get("attention_dropout", 0.0)
    return clip.ClipVision(clip.vision_encoder(**fields))


def _text(config):
    # Files before July 2023 say 2, whatever the end token is; see `end_token`.
    end = config.get("eos_token_id", 49407)
    end = end[0] if isinstance(end, list) else end
    return ClipText(
        vocab_size=config.get("vocab_size", 49408),
        max_positions=config.get("max_position_embeddings", 77),
        width=config.get("hidden_size", 512),
        depth=config.get("num_hidden_layers", 12),
        heads=config.get("num_attention_heads", 8),
        hidden=config.get("intermediate_size", 2048),
        end_token=None if end == 2 else end,
        activation=vit_parts.activation(config.get("hidden_act", "quick_gelu")),
        epsilon=config.get("layer_norm_eps", 1e-5),
        attention_dropout=config.get("attention_dropout", 0.0),
    )


def rows(model: nn.Module) -> list[Line]:
    """The table of names of one network."""
    network: Any = model
    match model:
        case clip.ClipVision():
            # Until transformers 5, a tower had its prefix even when it was alone.
            return [*_vision_rows(model, "params", ""), Alias(r"^vision_model\.", "")]
        case ClipText():
            return [*_text_rows("params", ""), Alias(r"^text_model\.", "")]
        case clip.ImageClassifier():
            table = _vision_rows(network.vision, "params/vision", _VISION)
            return [*table, *dense("params/head", "classifier")]
        case clip.Projected():
            if isinstance(network.tower, ClipText):
                table, name = _text_rows("params/tower", _TEXT), "text_projection"
            else:
                table = _vision_rows(network.tower, "params/tower", _VISION)
                name = "visual_projection"
            return table + dense("params/projection", name, bias=False)
    return [
        *_vision_rows(network.vision, "params/vision", _VISION),
        *_text_rows("params/text", _TEXT),
        *dense("params/image_projection", "visual_projection", bias=False),
        *dense("params/text_projection", "text_projection", bias=False),
        Row("params/logit_scale", "logit_scale"),
    ]


def _vision_rows(tower, path, prefix) -> list[Line]:
    ours, theirs = f"{path}/encoder", f"{prefix}embeddings"
    return [
        Row(f"{ours}/class_token", f"{theirs}.class_embedding", _row),
        Row(f"{ours}/patch_embedding/kernel", f"{theirs}.patch_embedding.weight", conv),
        Row(f"{ours}/position_embedding", f"{theirs}.position_embedding.weight"),
        Ignored(f"{theirs}.position_ids"),
        *norm(f"{ours}/pre_norm", f"{prefix}pre_layrnorm"),
        *_block_rows(f"{ours}/layers_{{i}}", f"{prefix}encoder.layers.{{i}}"),
        *norm(f"{path}/norm", f"{prefix}post_layernorm"),
    ]


def _text_rows(path, prefix) -> list[Line]:
    theirs = f"{prefix}embeddings"
    return [
        Row(f"{path}/word/embedding", f"{theirs}.token_embedding.weight"),
        Row(f"{path}/position/embedding", f"{theirs}.position_embedding.weight"),
        Ignored(f"{theirs}.position_ids"),
        *_block_rows(f"{path}/layers_{{i}}", f"{prefix}encoder.layers.{{i}}"),
        *norm(f"{path}/norm", f"{prefix}final_layer_norm"),
    ]


def _block_rows(ours, theirs) -> list[Line]:
    layers = [f"{theirs}.self_attn.{x}_proj" for x in "qkv"]
    return [
        *vit_parts.separate(f"{ours}/attention", layers),
        *dense(f"{ours}/attention/out", f"{theirs}.self_attn.out_proj"),
        *norm(f"{ours}/attention_norm", f"{theirs}.layer_norm1"),
        *dense(f"{ours}/feed_forward/up", f"{theirs}.mlp.fc1"),
        *dense(f"{ours}/feed_forward/down", f"{theirs}.mlp.fc2"),
        *norm(f"{ours}/feed_forward_norm", f"{theirs}.layer_norm2"),
    ]


def inputs(model: nn.Module) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Smallest input of `init`: one token, or an image of one patch, or both."""
    network: Any = getattr(model, "tower", model)
    ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    if isinstance(network, ClipText):
        return (ids,)
    tower = getattr(network, "vision", network)
    image = vit_parts.inputs(tower)
    return (ids, *image) if isinstance(network, clip.CLIP) else image


def outputs(
    model: nn.Module, variables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Outputs of the reference by its names.

    Args:
        model: both towers, or one.
        variables: its parameters.
        given: "pixel_values", channels first, or "input_ids" and perhaps
            "attention_mask", or all.

    Raises:
        ValueError: if there are others.
    """
    data: dict[str, Any] = {}
    for name, x in given.items():
        if name == "pixel_values":
            data["images"] = vit_parts.images({name: x})
        elif name == "input_ids":
            data["ids"] = jnp.asarray(np.asarray(x), jnp.int32)
        elif name == "attention_mask":
            data["mask"] = jnp.asarray(np.asarray(x) != 0)
        else:
            raise ValueError(f"inputs that this network does not know: {name}")
    answer, seen = _run(model, variables, data)
    network: Any = model
    if isinstance(model, clip.CLIP):
        return _both(network, answer, seen)
    if isinstance(model, clip.ImageClassifier):
        inner = vit_parts.inner(seen["vision"]["encoder"], network.vision.encoder.depth)
        return {"logits": answer, **inner}
    named = {}
    if isinstance(model, clip.Projected):
        seen, network, vector = seen["tower"], network.tower, answer[0]
        answer = answer[1]
        named["text_embeds" if "ids" in data else "image_embeds"] = vector
    else:
        named["pooler_output"] = answer.pooled
    named["last_hidden_state"] = answer.last_hidden_state
    if isinstance(network, clip.ClipVision):
        seen, network = seen["encoder"], network.encoder
    return named | vit_parts.inner(seen, network.depth)


@partial(jax.jit, static_argnums=0)
def _run(model, variables, data):
    order = [data[name] for name in ("ids", "images", "mask") if name in data]
    answer, state = model.apply(variables, *order, mutable=["intermediates"])
    return answer, state["intermediates"]


def _both(model, answer, seen):
    named = dict(answer._asdict())
    vision = seen["vision"]["encoder"]
    parts = {
        "text_model_output": (seen["text"], model.text.depth),
        "vision_model_output": (vision, model.vision.encoder.depth),
    }
    for name, (part, depth) in parts.items():
        inner = vit_parts.inner(part, depth)
        named |= {f"{name}.{key}": x for key, x in inner.items()}
    for name, short, states in (
        ("text", "text", seen["text_last_hidden_state"]),
        ("vision", "image", vision["last_hidden_state"]),
    ):
        named[f"{name}_model_output.last_hidden_state"] = states[0]
        projected = seen[f"{short}_projected"][0]
        named[f"{name}_model_output.pooler_output"] = projected
    return named


def _sized(width, depth, patch, text, image=224):
    tower = lambda width: {
        "hidden_size": width,
        "num_attention_heads": width // 64,
        "intermediate_size": 4 * width,
        "projection_dim": text,
    }
    vision = {"num_hidden_layers": depth, "patch_size": patch, "image_size": image}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": text,
        "text_config": tower(text),
        "vision_config": {**tower(width), **vision},
    }


FAMILY = Family(
    name="transformers/clip",
    classes=(
        "CLIPModel",
        "CLIPTextModel",
        "CLIPTextModelWithProjection",
        "CLIPVisionModel",
        "CLIPVisionModelWithProjection",
        "CLIPForImageClassification",
    ),
    build=build,
    rows=rows,
    inputs=inputs,
    outputs=outputs,
    sizes={
        "openai/clip-vit-base-patch32": _sized(768, 12, 32, 512),
        "openai/clip-vit-base-patch16": _sized(768, 12, 16, 512),
        "openai/clip-vit-large-patch14": _sized(1024, 24, 14, 768),
        "openai/clip-vit-large-patch14-336": _sized(1024, 24, 14, 768, 336),
    },
    licence="MIT",
    source="https://huggingface.co/openai/clip-vit-base-patch32",
    statistics=Statistics(
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
        resize=224,
        interpolation="bicubic",
    ),
)
