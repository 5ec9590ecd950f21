"""The named sizes of timm's vision transformers, as arguments of their class.

    arguments = ALL["vit_base_patch16_224"]

They are one class but three families, for the images are normalised in three ways.
"""

from typing import Any

__all__ = ["ALL", "DEIT", "DINOV2", "VIT"]


def _size(width, depth, heads, patch, image=224, **options):
    numbers = {"embed_dim": width, "depth": depth, "num_heads": heads}
    return {**numbers, "patch_size": patch, "img_size": image, **options}


def _dinov2(width, depth, heads, registers=0, **options):
    if registers:
        options |= {"reg_tokens": registers, "no_embed_class": True}
    options = {"init_values": 1e-5, "num_classes": 0, **options}
    return _size(width, depth, heads, 14, 518, **options)


_GIANT = {
    "mlp_ratio": 2.66667 * 2,
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "SiLU",
}
VIT: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": _size(192, 12, 3, 16),
    "vit_tiny_patch16_384": _size(192, 12, 3, 16, 384),
    "vit_small_patch16_224": _size(384, 12, 6, 16),
    "vit_small_patch16_384": _size(384, 12, 6, 16, 384),
    "vit_small_patch32_224": _size(384, 12, 6, 32),
    "vit_small_patch8_224": _size(384, 12, 6, 8),
    "vit_base_patch16_224": _size(768, 12, 12, 16),
    "vit_base_patch16_384": _size(768, 12, 12, 16, 384),
    "vit_base_patch32_224": _size(768, 12, 12, 32),
    "vit_base_patch8_224": _size(768, 12, 12, 8),
    "vit_large_patch16_224": _size(1024, 24, 16, 16),
    "vit_large_patch32_224": _size(1024, 24, 16, 32),
    "vit_large_patch14_224": _size(1024, 24, 16, 14),
    "vit_huge_patch14_224": _size(1280, 32, 16, 14),
}
DEIT: dict[str, dict[str, Any]] = {
    "deit_tiny_patch16_224": _size(192, 12, 3, 16),
    "deit_small_patch16_224": _size(384, 12, 6, 16),
    "deit_base_patch16_224": _size(768, 12, 12, 16),
    "deit_base_patch16_384": _size(768, 12, 12, 16, 384),
}
DINOV2: dict[str, dict[str, Any]] = {
    "vit_small_patch14_dinov2": _dinov2(384, 12, 6),
    "vit_base_patch14_dinov2": _dinov2(768, 12, 12),
    "vit_large_patch14_dinov2": _dinov2(1024, 24, 16),
    "vit_giant_patch14_dinov2": _dinov2(1536, 40, 24, **_GIANT),
    "vit_small_patch14_reg4_dinov2": _dinov2(384, 12, 6, 4),
    "vit_base_patch14_reg4_dinov2": _dinov2(768, 12, 12, 4),
    "vit_large_patch14_reg4_dinov2": _dinov2(1024, 24, 16, 4),
    "vit_giant_patch14_reg4_dinov2": _dinov2(1536, 40, 24, 4, **_GIANT),
}
ALL = VIT | DEIT | DINOV2
