"""Board inspection: pictures within the service's limits, boxes and their scores, and template comparison."""

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

MAX_IMAGE_BYTES = 3_932_160  # 3.75 MiB, which base64 turns into the 5 MB the service takes
MAX_IMAGE_SIDE = 8000  # px
MAX_IMAGE_PIXELS = 80_000_000  # more than any board picture; a few kilobytes can unpack to gigabytes
MANY = 15  # more separate differences than this on one picture are edge noise, not defects
RIM = 4  # px along the border that a shift may have left without a counterpart
LEAST_AREA = 12  # px of a difference that edge noise does not explain
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")  # what the service reads


class Box(NamedTuple):
    """A rectangle in pixels: left, top, and the first column and row beyond it."""

    x0: float
    y0: float
    x1: float
    y1: float


class ImageError(ValueError):
    """A file that cannot be sent as a picture; the message says why and what to do."""


@dataclass(frozen=True)
class LoadedImage:
    """A picture for a request: encoded bytes, format (png, jpeg, gif, webp), size in px, what was changed."""

    bytes: bytes
    format: str
    width: int
    height: int
    note: str


def iou(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes, 0-1; an empty box overlaps nothing."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared))


def match(found: Sequence[Box], truth: Sequence[Box], threshold: float = 0.33) -> tuple[int, int, int]:
    """Return (true positives, false positives, false negatives); boxes are paired one to one, best first.

    The threshold of 0.33 is the one of the DeepPCB benchmark (https://github.com/tangsanli5201/DeepPCB).
    """
    pairs = sorted(
        ((iou(f, t), i, j) for i, f in enumerate(found) for j, t in enumerate(truth)), reverse=True
    )
    used_found: set[int] = set()
    used_truth: set[int] = set()
    for overlap, i, j in pairs:
        if overlap >= threshold and overlap > 0 and i not in used_found and j not in used_truth:
            used_found.add(i)
            used_truth.add(j)
    hits = len(used_found)
    return hits, len(found) - hits, len(truth) - hits


def compare_to_template(template: NDArray[Any], board: NDArray[Any], contrast: int = 25) -> list[Box]:
    """Return boxes, in the board's pixels, around what differs from the template beyond edge noise of 3 px.

    Both are grey or binary pictures (H, W), uint8 or bool, shifted against each other by at most 3 px; a
    difference counts above `contrast` grey levels. Raises ValueError for any other shape or type.
    """
    before, after = _levels(template, board)
    before = _aligned(before, after)
    differs = _excess(before, after, contrast) | _excess(after, before, contrast)
    low, high, low_after, high_after = before, before, after, after
    for _ in range(3):
        # Allow every edge to move by one more pixel until what is left could be a handful of defects.
        low, high = _spread(low, np.minimum), _spread(high, np.maximum)
        low_after, high_after = _spread(low_after, np.minimum), _spread(high_after, np.maximum)
        core = _excess(after, high, contrast) | _excess(low, after, contrast)
        core |= _excess(before, high_after, contrast) | _excess(low_after, before, contrast)
        core[:RIM], core[-RIM:], core[:, :RIM], core[:, -RIM:] = [False] * 4
        labels, count = ndimage.label(_spread(core, np.maximum, 4))
        if count <= MANY:
            break
    sizes = np.bincount(labels[core], minlength=count + 1)
    places = ndimage.find_objects(np.where(differs, labels, 0))
    return [
        _padded(place, board.shape)
        for size, place in zip(sizes[1:], places, strict=False)
        if place and size >= LEAST_AREA
    ]


def _levels(template: NDArray[Any], board: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Check both pictures; return grey levels 0-255, without compression noise if black and white."""
    for name, picture in (("template", template), ("board", board)):
        if picture.ndim != 2 or picture.size == 0 or picture.dtype not in (np.uint8, np.bool_):
            raise ValueError(
                f"{name} must be a grey picture (H, W) of uint8 with pixels in it, not {picture.shape} of "
                f'{picture.dtype}; np.asarray(Image.open(file).convert("L")) gives one'
            )
    if template.shape != board.shape:
        raise ValueError(
            f"template {template.shape} and board {board.shape} differ in size; crop or resize one first"
        )
    flat = max(int(template.max()), int(board.max())) <= 1
    before, after = (
        p.astype(np.uint8) * np.uint8(255 if flat or p.dtype == np.bool_ else 1) for p in (template, board)
    )
    dark, light = (np.count_nonzero(part) / before.size for part in (before < 32, before > 223))
    if dark + light > 0.95 and min(dark, light) > 0.05:
        before, after = (np.where(p > 127, np.uint8(255), np.uint8(0)) for p in (before, after))
    return before, after


def _aligned(before: NDArray[np.uint8], after: NDArray[np.uint8], reach: int = 3) -> NDArray[np.uint8]:
    """Return `before` moved by up to `reach` px so that the fewest light-dark pixels disagree."""
    if min(before.shape) <= 2 * reach:
        return before
    middle = before.mean()
    light = before > middle
    inner = (after > middle)[reach:-reach, reach:-reach]
    height, width = inner.shape
    steps = sorted(range(-reach, reach + 1), key=abs)
    disagree = {
        (dy, dx): int(np.count_nonzero(inner != light[reach - dy :, reach - dx :][:height, :width]))
        for dy in steps
        for dx in steps
    }
    return np.roll(before, min(disagree, key=disagree.__getitem__), (0, 1))


def _excess(high: NDArray[np.uint8], low: NDArray[np.uint8], by: int) -> NDArray[np.bool_]:
    """Return where `high` is more than `by` grey levels above `low`."""
    return np.maximum(high, low) - low > by


def _spread(picture: NDArray[Any], extreme: np.ufunc, times: int = 1) -> NDArray[Any]:
    """Return the maximum or minimum over each pixel's neighbourhood of (2 times + 1) squared."""
    for _ in range(times):
        for axis in (0, 1):
            lines = np.moveaxis(picture.copy(), axis, 0)
            source = np.moveaxis(picture, axis, 0)
            extreme(lines[1:], source[:-1], out=lines[1:])
            extreme(lines[:-1], source[1:], out=lines[:-1])
            picture = np.moveaxis(lines, 0, axis)
    return picture


def _padded(place: tuple[slice, ...], shape: tuple[int, ...], pad: int = 6, least: int = 20) -> Box:
    """Return the box a person would draw: `pad` px around the place and no side under `least` px."""
    rows, columns = ((s.start - pad, s.stop + pad) for s in place)
    (y0, y1), (x0, x1) = (
        (max(0, a - max(0, least - b + a) // 2), min(side, b + max(0, least - b + a + 1) // 2))
        for (a, b), side in zip((rows, columns), shape, strict=True)
    )
    return Box(x0, y0, x1, y1)


def load_image(
    path: str | Path, max_bytes: int = MAX_IMAGE_BYTES, max_side: int = MAX_IMAGE_SIDE
) -> LoadedImage:
    """Read a picture and make it fit the service: format, raw bytes, side in px; `note` says what changed.

    Amazon Bedrock's Converse takes PNG, JPEG, GIF and WebP. Raises ImageError for a file that is no picture,
    is damaged, would unpack to more than 80 million pixels, or cannot be made small enough.
    """
    path = Path(path)
    raw, picture = _read(path)
    original = picture.format or ""
    picture, notes = _plain(picture, raw)
    if max(picture.size) > max_side:
        picture = _smaller(picture, max_side / max(picture.size), notes)
    if not notes and len(raw) <= max_bytes and original in FORMATS:
        return LoadedImage(raw, original.lower(), *picture.size, "sent as it is")
    if original not in FORMATS:
        notes.append(f"{original} converted to PNG")
    kind = "JPEG" if original == "JPEG" else "PNG"
    data = _encoded(picture, kind)
    if len(data) > max_bytes:
        kind, data = "JPEG", _encoded(picture, "JPEG")
        notes.append(f"encoded as JPEG to stay within {max_bytes:,} bytes")
    full, scale = picture, 1.0
    while len(data) > max_bytes:
        scale *= 0.8
        if min(full.size) * scale < 32:
            raise ImageError(
                f"{path}: does not fit into {max_bytes:,} bytes at any useful size; raise max_bytes"
            )
        picture = _smaller(full, scale, [])
        data = _encoded(picture, "JPEG")
    if picture is not full:
        notes.append(_scaling(full, picture))
    return LoadedImage(data, kind.lower(), *picture.size, "; ".join(notes) or "encoded again to save bytes")


def _read(path: Path) -> tuple[bytes, Image.Image]:
    """Return a file's bytes and its fully read picture."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not raw:
        raise ImageError(f"{path}: the file is empty (0 bytes); fetch or export it again")
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            picture: Image.Image = Image.open(io.BytesIO(raw))
        if picture.width * picture.height > MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"{path}: over {MAX_IMAGE_PIXELS:,} pixels when unpacked; crop it or scale it down"
        raise ImageError(message) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture this workshop can read; save it as PNG or JPEG") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise ImageError(f"{path}: damaged or cut short ({error}); fetch or export it again") from error
    return raw, picture


def _smaller(picture: Image.Image, scale: float, notes: list[str]) -> Image.Image:
    """Return the picture scaled down, with a line added to `notes`."""
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if picture.mode in ("1", "P"):
        picture = picture.convert("RGB")  # palette entries cannot be averaged
    small = picture.resize(size, Image.Resampling.LANCZOS)
    notes.append(_scaling(picture, small))
    return small


def _scaling(before: Image.Image, after: Image.Image) -> str:
    return f"scaled down from {before.width} x {before.height} to {after.width} x {after.height} px"


def _plain(picture: Image.Image, raw: bytes) -> tuple[Image.Image, list[str]]:
    """Return the picture as an upright 8-bit grey, palette or RGB still, and what had to be done for it."""
    notes: list[str] = []
    if getattr(picture, "n_frames", 1) > 1:
        notes.append(f"first of {picture.n_frames} frames taken")  # type: ignore[attr-defined]
        picture.seek(0)
    if picture.getexif().get(0x0112, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
        notes.append("turned upright as its EXIF data say")
    deep_png = raw[:8] == b"\x89PNG\r\n\x1a\n" and raw[24:25] == b"\x10"
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        levels = np.asarray(picture, np.float64)
        top = 65535.0 if deep_png or picture.mode.startswith("I;16") else max(float(levels.max()), 1.0)
        picture = Image.fromarray(np.clip(np.rint(levels / top * 255), 0, 255).astype(np.uint8))
        notes.append("16-bit levels reduced to 8 bits")
    elif deep_png:
        notes.append("16-bit levels reduced to 8 bits")  # already done in reading
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            notes.append("transparent parts laid on white")
        picture = picture.convert("RGB")
    if picture.mode not in ("1", "L", "P", "RGB"):
        notes.append(f"{picture.mode} converted to RGB")
        picture = picture.convert("RGB")
    return picture, notes


def _encoded(picture: Image.Image, kind: str) -> bytes:
    """Return the encoded picture; JPEG at quality 92, good enough for 5 px defects."""
    out = io.BytesIO()
    if kind == "JPEG" and picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    picture.save(out, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return out.getvalue()
