"""Show a run of the probes: a table of the checks, the layers as a picture, the course of a training."""

from collections.abc import Sequence

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from helpers.layer_checks import Layer, check_layers, layers
from helpers.sandbox import Run

_COLOURS = {"conv": "#0072B2", "relu": "#56B4E9", "pool": "#009E73", "dense": "#E69F00", "soft": "#D55E00"}
_PLAIN = "#BBBBBB"
_SLOT = 40  # width that each layer gets in the picture, in pixels of its images


def table(run: Run) -> str:
    """Return the checks of a run with harness("layers") as a Markdown table, with shapes and parameters."""
    known = {f"layer {number}, {layer.name}": layer for number, layer in enumerate(layers(run))}
    rows = ["| check | in | out | parameters | verdict | details |", "|---|---|---|---|---|---|"]
    for check in check_layers(run):
        layer = known.get(check.name)
        facts = f"{layer.input_shape} | {layer.output_shape} | {layer.parameters:,}" if layer else " | | "
        verdict = "pass" if check.verdict == "pass" else f"**{check.verdict}**"
        detail = check.detail.replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {check.name} | {facts} | {verdict} | {detail} |")
    return "\n".join(rows)


def diagram(ax: Axes, found: Sequence[Layer]) -> None:
    """Draw what flows through the network: images (C, H, W) as stacks, to scale; rows of numbers as bars."""
    ax.set_axis_off()
    if not found:
        ax.text(0.5, 0.5, "The network did not run: there are no shapes to draw.", ha="center")
        return
    stages = [("input", found[0].input_shape, 0)]
    stages += [(layer.name, layer.output_shape, layer.parameters) for layer in found]
    for number, (name, (_, *shape), parameters) in enumerate(stages):
        colour = next((colour for key, colour in _COLOURS.items() if key in name.lower()), _PLAIN)
        # A row of numbers has no height of its own: its bar grows with the logarithm of its length.
        channels, height, width = shape if len(shape) == 3 else (1, 12 * np.log10(max(shape)), 3)
        step = 1.2
        spread = step * (channels - 1)
        left, low = number * _SLOT - (width + spread) / 2, -(height + spread) / 2
        for channel in reversed(range(channels)):
            corner = (left + step * channel, low + step * channel)
            ax.add_patch(Rectangle(corner, width, height, facecolor=colour, edgecolor="white", linewidth=0.7))
        words = f"{name}\n{' × '.join(map(str, shape))}"
        words += f"\n{parameters:,} parameters" if parameters else ""
        ax.text(number * _SLOT, -24, words, ha="center", va="top", fontsize=11)
    ax.set(xlim=(-_SLOT / 2, (len(stages) - 0.5) * _SLOT), ylim=(-42, 24), aspect="equal")


def training(axes: Sequence[Axes], run: Run) -> None:
    """Draw loss, test accuracy and confusion matrix of a run with harness("training") on three axes."""
    from sklearn.metrics import ConfusionMatrixDisplay

    if "losses" not in run.arrays:
        axes[0].set_title("The network did not train.")
        return
    for ax, name, values in zip(axes, ("loss", "test accuracy"), ("losses", "accuracies"), strict=False):
        # Rounded: the last digits of a sum differ between processors.
        curve = run.arrays[values].round(3)
        ax.plot(range(1, len(curve) + 1), curve, color="#0072B2")
        ax.set(xlabel="epoch", title=name, ylim=(0, None))
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes[1].axhline(0.95, color="#D55E00", linestyle=":")
    axes[1].set_ylim(0, 1)
    labels, predicted = run.arrays["labels"], run.arrays["predicted"]
    ConfusionMatrixDisplay.from_predictions(labels, predicted, ax=axes[2], colorbar=False, cmap="Blues")
    axes[2].set(xlabel="predicted digit", ylabel="true digit", title="test images")
