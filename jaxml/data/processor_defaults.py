"""What the image processors of transformers do where their configuration is silent.

    settings = {**DEFAULTS["CLIP"], **config}

Names are those of `preprocessor_config.json`; the keys of the table are the names of
the classes without "ImageProcessor".
"""

from typing import Any

from jaxml.data import images as tools

__all__ = ["DEFAULTS", "KEEP_ASPECT"]


def _default(statistics, resample, size, crop=None, **more):
    mean, std = statistics
    crops = {} if crop is None else {"do_center_crop": True, "crop_size": crop}
    shared = {"image_mean": mean, "image_std": std, "resample": resample, "size": size}
    return {**shared, **crops, **more}


_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = (tools.IMAGENET_MEAN, tools.IMAGENET_STD)
_CLIP = (tools.CLIP_MEAN, tools.CLIP_STD)
_MOBILE = _default(_HALF, 2, {"shortest_edge": 256}, 224)
_BOUND = {"shortest_edge": 800, "longest_edge": 1333}
_DETECTION = _default(_IMAGENET, 2, _BOUND, do_pad=True)
_CLIP_LIKE = _default(_CLIP, 3, {"shortest_edge": 224}, 224, do_convert_rgb=True)
DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": _default(_HALF, 2, 224),
    "DeiT": _default(_HALF, 3, 256, 224),
    "CLIP": _CLIP_LIKE,
    "Bit": _CLIP_LIKE,
    "ConvNext": _default(_HALF, 3, {"shortest_edge": 384}, crop_pct=224 / 256),
    "EfficientNet": _default(_HALF, 3, 346, crop_size=289, include_top=True),
    "MobileNetV1": _MOBILE,
    "MobileNetV2": _MOBILE,
    "Detr": _DETECTION,
    "Yolos": _DETECTION,
    "Beit": _default(_HALF, 3, 224, crop_size=224),
    "Siglip": _default(_HALF, 3, 224, do_convert_rgb=True),
    "Blip": _default(_CLIP, 3, 384, do_convert_rgb=True),
    "Segformer": _default(_IMAGENET, 2, 512),
}
# Classes whose one number is the shorter side.
KEEP_ASPECT = frozenset(
    ("CLIP", "Bit", "ConvNext", "MobileNetV1", "MobileNetV2", "Detr", "Yolos")
)
