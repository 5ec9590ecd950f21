"""The preprocessing that a model's `preprocessor_config.json` asks for.

    processor = from_config(json.loads(path.read_text()))
    pixels = prepare(processor, image)            # uint8 [h, w, c] -> float32 [h, w, c]
    batch = prepare_batch(processor, images)      # pixels [n, h, w, c] and their mask

A processor is a frozen dataclass of numbers, `prepare` a pure function of it and of an
image: a NumPy array stays on the host, a JAX array may be traced. Channels stand last.

transformers has two kinds of processors, whose pixels differ by up to one step of a
byte: those on torch tensors, its default, and those on Pillow, the only ones until
2024. `library` chooses: "transformers" or "pillow".
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jaxml.data import images as tools
from jaxml.data import resize
from jaxml.data.processor_defaults import DEFAULTS, KEEP_ASPECT

__all__ = [
    "Batch",
    "ImageProcessor",
    "evaluation",
    "from_config",
    "prepare",
    "prepare_batch",
]

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class ImageProcessor:
    """What is done to an image, in the order of the fields; None leaves a step out.

    Args:
        rgb: whether gray and transparent images become red, green and blue.
        size: the exact height and width.
        shortest: the shorter side, instead of `size`; the aspect stays.
        longest: what the longer side may not pass then.
        inside: largest height and width, instead of `size`; the aspect stays.
        multiple: what height and width are rounded down to a multiple of.
        method: how pixels are averaged (`jaxml.data.resize.METHODS`).
        crop: height and width of the middle that is kept.
        factor: what pixels are multiplied by.
        offset: what is added to them then.
        mean: of each channel.
        std: of each channel.
        last_std: a second division, which the classifiers of EfficientNet ask for.
        pad: whether the images of a batch are padded to one size.
        library: whose arithmetic: "transformers", "pillow" or "torchvision" (the
            transforms of torchvision on a Pillow image).
    """

    rgb: bool = False
    size: Size | None = None
    shortest: int | None = None
    longest: int | None = None
    inside: Size | None = None
    multiple: int = 1
    method: str = "bilinear"
    crop: Size | None = None
    factor: float | None = 1 / 255
    offset: float = 0.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    last_std: tuple[float, ...] | None = None
    pad: bool = False
    library: str = "transformers"


class Batch(NamedTuple):
    """Prepared images of one size."""

    pixels: Float[Array | np.ndarray, "n h w c"]
    mask: Bool[Array | np.ndarray, "n h w"]  # False on padding


def prepare(
    processor: ImageProcessor, image: UInt8[Array | np.ndarray, "_ _ _"]
) -> Float[Array | np.ndarray, "h w c"]:
    """One image as the model takes it.

    Args:
        processor: what to do.
        image: bytes [height, width, channels].

    Raises:
        ValueError: if the image is not of bytes, or a step refuses it.
    """
    if image.ndim != 3 or image.dtype != np.uint8:
        raise ValueError(
            "image must be uint8 [height, width, channels]; got "
            f"{image.dtype} {image.shape}"
        )
    if processor.rgb:
        image = tools.to_rgb(image)
    size = _target(processor, image.shape[:2])
    if size is not None:
        exact = (
            resize.torchvision if processor.library == "transformers" else resize.pillow
        )
        image = exact(image, size, method=_method(processor))
    if processor.crop is not None:
        image = tools.center_crop(image, processor.crop, like=processor.library)
    factor = 1.0 if processor.factor is None else processor.factor
    pixels = tools.rescale(image, factor, offset=processor.offset)
    if processor.mean is not None and processor.std is not None:
        pixels = tools.normalize(pixels, mean=processor.mean, std=processor.std)
    if processor.last_std is not None:
        pixels = tools.normalize(pixels, mean=0.0, std=processor.last_std)
    return pixels


def prepare_batch(
    processor: ImageProcessor, images: Sequence[UInt8[Array | np.ndarray, "_ _ _"]]
) -> Batch:
    """Many images as the model takes them.

    Args:
        processor: what to do.
        images: bytes [height, width, channels], of any sizes.

    Raises:
        ValueError: if the results differ in size and the processor does not pad.
    """
    prepared = [prepare(processor, image) for image in images]
    sizes = {pixels.shape[:2] for pixels in prepared}
    if len(sizes) > 1 and not processor.pad:
        raise ValueError(f"images must come out in one size; got {sorted(sizes)}")
    return Batch(*tools.pad_together(prepared))


def evaluation(
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: Size,
    resize: int | None = None,
    interpolation: str = "bilinear",
) -> ImageProcessor:
    """What torchvision and timm do to an image before they judge a network.

    Args:
        mean: of each channel.
        std: of each channel.
        size: height and width that the network sees.
        resize: the shorter side before the middle is cut out; none is cut if None.
        interpolation: how pixels are averaged (`jaxml.data.resize.METHODS`).

    >>> evaluation(mean=[0.5], std=[0.5], size=(224, 224), resize=256).shortest
    256
    """
    numbers = {"size": size} if resize is None else {"shortest": resize, "crop": size}
    return ImageProcessor(
        rgb=True,
        method=interpolation,
        mean=tuple(mean),
        std=tuple(std),
        library="torchvision",
        **numbers,
    )


def from_config(
    config: Mapping[str, Any], *, library: str = "transformers"
) -> ImageProcessor:
    """The processor that a `preprocessor_config.json` describes.

    What it leaves out is the default of its class, as in transformers. Old files are
    read too: sizes as one number, `feature_extractor_type`, `max_size`.

    Args:
        config: the file as a dictionary.
        library: "transformers" or "pillow"; see the head of this file.

    Raises:
        ValueError: if the class is unknown, or a size makes no sense.

    >>> from_config({"image_processor_type": "ViTImageProcessor", "size": 384}).size
    (384, 384)
    """
    if library not in ("transformers", "pillow"):
        raise ValueError(f"library must be transformers or pillow; got {library!r}")
    kind = _kind(config)
    given = {**DEFAULTS[kind], **config}
    square = kind not in KEEP_ASPECT
    numbers = _sizes(given, square=square) if given.get("do_resize", True) else {}
    if given.get("do_center_crop"):
        numbers["crop"] = _pair(given["crop_size"], "crop_size")
    if kind == "ConvNext" and numbers:
        numbers = _convnext(numbers["shortest"], given["crop_pct"])
    normal = given.get("do_normalize", True)
    std = tuple(given["image_std"]) if normal else None
    return ImageProcessor(
        rgb=bool(given.get("do_convert_rgb", False)),
        method=_RESAMPLE[int(given["resample"])],
        factor=given.get("rescale_factor", 1 / 255)
        if given.get("do_rescale", True)
        else None,
        offset=-1.0 if given.get("rescale_offset") else 0.0,
        mean=tuple(given["image_mean"]) if normal else None,
        std=std,
        last_std=std if given.get("include_top") else None,
        pad=bool(given.get("do_pad", False)),
        multiple=16 if kind == "Yolos" else 1,
        library=library,
        **numbers,
    )


def _target(processor, size):
    if processor.size is not None:
        return processor.size
    if processor.inside is not None:
        size = tools.fit_inside(size, processor.inside)
    elif processor.shortest is not None:
        size = tools.keep_aspect(
            size, shortest=processor.shortest, longest=processor.longest
        )
    else:
        return None
    height, width = (side - side % processor.multiple for side in size)
    return height, width


def _method(processor):
    if processor.method == "nearest" and processor.library == "transformers":
        return "nearest_exact"  # what its table calls Pillow's "nearest"
    return processor.method


def _kind(config):
    """ "ViT" of ViTImageProcessorFast or ViTFeatureExtractor."""
    name = config.get("image_processor_type") or config.get("feature_extractor_type")
    if name is None:
        name = "ViTImageProcessor"
    kind = name
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    if kind not in DEFAULTS:
        known = ", ".join(f"{kind}ImageProcessor" for kind in DEFAULTS)
        raise ValueError(f"image_processor_type must be one of {known}; got {name!r}")
    return kind


def _sizes(given, *, square):
    """The fields of `ImageProcessor` that tell the new size."""
    size = given["size"]
    if isinstance(size, Mapping):
        keys = {key for key, value in size.items() if value is not None}
        if keys == {"height", "width"}:
            return {"size": _pair(size, "size")}
        if keys == {"max_height", "max_width"}:
            return {"inside": (size["max_height"], size["max_width"])}
        if "shortest_edge" in keys and keys <= {"shortest_edge", "longest_edge"}:
            return {
                "shortest": size["shortest_edge"],
                "longest": size.get("longest_edge"),
            }
        raise ValueError(
            "size must have height and width, or shortest_edge and perhaps "
            f"longest_edge, or max_height and max_width; got {sorted(keys)}"
        )
    if square or not isinstance(size, int):
        return {"size": _pair(size, "size")}
    return {"shortest": size, "longest": given.get("max_size")}


def _pair(size, name):
    if isinstance(size, Mapping):
        if not {"height", "width"} <= set(size):
            raise ValueError(f"{name} must have height and width; got {sorted(size)}")
        return size["height"], size["width"]
    if isinstance(size, int):
        return size, size
    if len(size) != 2:
        raise ValueError(f"{name} must be height and width; got {size}")
    return tuple(size)


def _convnext(shortest, crop_pct):
    """Below 384 the middle of a larger image; from there on the whole, squeezed."""
    if shortest >= 384:
        return {"size": (shortest, shortest)}
    return {"shortest": int(shortest / crop_pct), "crop": (shortest, shortest)}


# Numbers of Pillow's `Image.Resampling`.
_RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
