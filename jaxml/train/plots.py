"""The pictures of a run: learning curves, confusion matrix, worst mistakes.

    plots.curves(log.read("run/metrics.jsonl"), "run/curves.png")
    plots.confusion(matrix, classes, "run/confusion.png")
    plots.mistakes(images, labels, probabilities, classes, "run/mistakes.png")

Needs the extra `plots` (matplotlib); without it each raises ImportError. No pyplot: no
window, no global state, any thread.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Shaped

__all__ = ["classifier", "confusion", "curves", "mistakes"]

TRAINING, VALIDATION, FAINT = "#2f6db3", "#d9731a", "#9dbde0"
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
}
PREFIX = "validation/"  # of the scores in a record of the log
MOST_PANELS = 6
MOST_NAMES = 25  # classes of a confusion matrix that can be told apart by name


def curves(records: Sequence[dict], path: str | Path) -> list[Path]:
    """Draw the loss, every validation score and the rate over the steps.

    Args:
        records: lines of a `metrics.jsonl`; entries that are not finite leave a gap.
        path: the PNG to write.

    Returns:
        The file, or nothing if no record holds a number to draw.

    Raises:
        ImportError: without matplotlib.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    scores = [n.removeprefix(PREFIX) for n in names if n.startswith(PREFIX)]
    panels = [n for n in ("loss", *scores, "rate") if n in names or PREFIX + n in names]
    panels = list(dict.fromkeys(panels))[:MOST_PANELS]
    if not panels:
        return []
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    with _style(grid=True):
        figure = _figure(4.6 * columns, 3.5 * rows)
        for index, name in enumerate(panels, 1):
            axes = figure.add_subplot(rows, columns, index)
            _panel(axes, records, name)
        return _save(figure, path)


def confusion(
    matrix: Integer[np.ndarray, "classes classes"],
    classes: Sequence[str],
    path: str | Path,
) -> list[Path]:
    """Draw which class was taken for which: the shares as colour, the counts as text.

    Args:
        matrix: entry [t, p] counts the rows of true class t that were predicted as p.
        classes: their names.
        path: the PNG to write.

    Returns:
        The file.

    Raises:
        ImportError: without matplotlib.
        ValueError: if there is not one name a row.
    """
    if len(classes) != len(matrix):
        raise ValueError(
            f"classes must hold one name for each of the {len(matrix)} rows; "
            f"got {len(classes)}"
        )
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    number = len(matrix)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 1.9 + 0.42 * min(max(number, 4), MOST_NAMES)
    with _style(grid=False):
        figure = _figure(side + 1.6, side, "compressed")
        axes = figure.add_subplot()
        # The root brings out mistakes of one per cent, which are what one looks for.
        picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
        bar = figure.colorbar(picture, ax=axes, fraction=0.045, pad=0.03)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1])
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        if number <= MOST_NAMES:
            long = max(map(len, classes)) > 4
            turn = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(range(number), classes, **(turn if long else {}))
            axes.set_yticks(range(number), classes)
            small = 9 if matrix.max() < 1000 else 7
            for t, p in zip(*np.nonzero(matrix), strict=True):
                colour = "white" if share[t, p] > 0.35 else "#222222"
                text = {"ha": "center", "va": "center", "fontsize": small}
                axes.text(p, t, f"{matrix[t, p]}", color=colour, **text)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        right, total = int(np.trace(matrix)), int(matrix.sum())
        axes.set_title(f"accuracy {right / max(total, 1):.2%} on {total:,}", pad=10)
        return _save(figure, path)


def mistakes(
    images: Shaped[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, "n"],
    probabilities: Float[np.ndarray, "n classes"],
    classes: Sequence[str],
    path: str | Path,
    *,
    most: int = 24,
) -> list[Path]:
    """Draw the images that were surest put into a wrong class, the surest first.

    Args:
        images: in any range; one channel is drawn grey, three as colours.
        labels: the true classes.
        probabilities: of each class.
        classes: their names.
        path: the PNG to write.
        most: how many to draw.

    Returns:
        The file.

    Raises:
        ImportError: without matplotlib.
        ValueError: if the images have neither one channel nor three.
    """
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels; got {images.shape[-1]}")
    predicted = probabilities.argmax(1)
    sure = probabilities.max(1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    rows = math.ceil(len(worst) / 6)
    columns = max(math.ceil(len(worst) / max(rows, 1)), 3)
    with _style(grid=False):
        figure = _figure(1.5 * columns, 1.95 * rows + 0.6)
        shown = f", the surest {len(worst)}" if len(worst) < len(wrong) else ""
        figure.suptitle(
            f"{len(wrong):,} of {len(labels):,} wrong{shown}",
            fontsize=11,
            fontweight="bold",
        )
        low, high = float(images.min()), float(images.max())
        for index, row in enumerate(worst, 1):
            axes = figure.add_subplot(rows, columns, index)
            pixels = (images[row] - low) / max(high - low, 1e-12)
            grey = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
            axes.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, **grey)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set(visible=True, color="#cccccc")
            said = f"{classes[predicted[row]]}, {sure[row]:.0%} sure"
            axes.set_title(said, fontsize=8.5, fontweight="normal", color=VALIDATION)
            axes.set_xlabel(f"is {classes[labels[row]]}", fontsize=8.5)
        return _save(figure, path)


def classifier(
    folder: Path,
    labels: Integer[np.ndarray, "n"],
    probabilities: Float[np.ndarray, "n classes"],
    images: Shaped[np.ndarray, "n h w c"] | None,
    classes: Sequence[str],
) -> list[Path]:
    """Draw `confusion.png` and, with images, `mistakes.png` into `folder`."""
    number = probabilities.shape[1]
    names = list(classes) or [str(index) for index in range(number)]
    matrix = np.zeros((number, number), np.int64)
    np.add.at(matrix, (labels, probabilities.argmax(1)), 1)
    written = confusion(matrix, names, folder / "confusion.png")
    if images is not None:
        written += mistakes(
            images, labels, probabilities, names, folder / "mistakes.png"
        )
    return written


def _panel(axes, records, name) -> None:
    """One quantity over the steps, of the training and of the validation."""
    steps, values = _series(records, name)
    if name == "rate":
        axes.plot(steps, values, color="#555555", linewidth=1.5)
    elif len(steps):
        axes.plot(steps, values, color=FAINT, linewidth=0.9)
        axes.plot(
            steps, _smooth(values), color=TRAINING, linewidth=1.8, label="training"
        )
    marks, scores = _series(records, PREFIX + name)
    if len(marks):
        dot = {"marker": "o", "markersize": 3.5} if len(marks) <= 40 else {}
        axes.plot(
            marks, scores, color=VALIDATION, linewidth=1.8, label="validation", **dot
        )
    both = np.concatenate([values, scores])
    both = both[np.isfinite(both)]
    if name == "loss" and len(both) and both.min() > 0 and both.max() > 30 * both.min():
        axes.set_yscale("log")
    axes.set_title({"rate": "learning rate"}.get(name, name.replace("_", " ")))
    axes.set_xlabel("step")
    if name != "rate":
        axes.legend()


def _series(records, name) -> tuple[np.ndarray, np.ndarray]:
    found = [(r["step"], r[name]) for r in records if name in r]
    steps, values = np.array(found, np.float64).reshape(-1, 2).T
    return steps, values


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean under a bell a fortieth of the curve wide: no lag, no bias at the ends."""
    width = max(len(values) / 40, 1)
    reach = np.arange(-math.ceil(3 * width), math.ceil(3 * width) + 1)
    bell = np.exp(-0.5 * (reach / width) ** 2)
    known = np.isfinite(values)
    middle = slice(reach[-1], reach[-1] + len(values))
    total = np.convolve(np.where(known, values, 0), bell)[middle]
    weight = np.convolve(known, bell)[middle]
    return np.where(known, total / np.maximum(weight, 1e-12), np.nan)


def _style(*, grid: bool):
    import matplotlib

    return matplotlib.rc_context(STYLE | {"axes.grid": grid})


def _figure(width: float, height: float, layout: Any = "constrained"):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def _save(figure, path: str | Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path = Path(path)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    FigureCanvasAgg(figure)
    figure.savefig(half, format="png", dpi=130, bbox_inches="tight", pad_inches=0.1)
    os.replace(half, path)
    return [path]
