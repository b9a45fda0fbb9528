"""helpers.inspection: limits of pictures, scores, and template comparison on pairs it was not tuned on."""

import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from helpers.inspection import (
    MAX_IMAGE_BYTES,
    MAX_IMAGE_SIDE,
    Box,
    ImageError,
    compare_to_template,
    iou,
    load_image,
    match,
)
from tests.binary_pairs import make_pair

BOARDS = Path(__file__).resolve().parent.parent / "data" / "boards"
HELD_OUT = range(1000, 1024)  # pad, area and spread were chosen on seeds 0-59


def f_score(counts: NDArray[np.int64]) -> float:
    return float(2 * counts[0] / (2 * counts[0] + counts[1] + counts[2]))


# boxes and scores


def test_iou_of_known_boxes() -> None:
    assert iou(Box(0, 0, 10, 10), Box(0, 0, 10, 10)) == 1
    assert iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 10, 10), Box(10, 0, 20, 10)) == 0
    assert iou(Box(3, 3, 3, 3), Box(3, 3, 3, 3)) == 0


def test_matching_is_one_to_one_and_prefers_the_best_pair() -> None:
    truth = [Box(0, 0, 10, 10)]
    assert match([Box(0, 0, 10, 10), Box(1, 1, 11, 11)], truth) == (1, 1, 0)
    assert match([], truth) == (0, 0, 1)
    assert match(truth, []) == (0, 1, 0)
    assert match([], []) == (0, 0, 0)
    near, far = Box(0, 0, 10, 10), Box(4, 0, 14, 10)
    assert match([far, near], [Box(0, 0, 10, 10), Box(5, 0, 15, 10)]) == (2, 0, 0)


def test_matching_holds_the_threshold() -> None:
    assert match([Box(0, 0, 10, 10)], [Box(5, 0, 15, 10)], 0.33) == (1, 0, 0)
    assert match([Box(0, 0, 10, 10)], [Box(5, 0, 15, 10)], 0.34) == (0, 1, 1)
    assert match([Box(0, 0, 1, 1)], [Box(5, 5, 6, 6)], 0.0) == (0, 1, 1)


# template comparison


def test_comparison_scores_on_held_out_pairs() -> None:
    counts = np.zeros((2, 3), np.int64)
    for seed in HELD_OUT:
        pair = make_pair(seed)
        counts[int(seed % 3 == 0)] += match(compare_to_template(pair.template, pair.board), pair.truth)
    aligned, shifted = counts
    assert f_score(aligned + shifted) >= 0.92
    assert f_score(shifted) >= 0.85


def test_comparison_reads_compressed_and_zero_one_pictures() -> None:
    pair = make_pair(2001)

    def compressed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG", quality=75)
        return np.asarray(Image.open(data))

    expected = compare_to_template(pair.template, pair.board)
    assert match(expected, pair.truth)[0] >= 3
    assert compare_to_template(compressed(pair.template), compressed(pair.board)) == expected
    assert compare_to_template(pair.template // 255, pair.board // 255) == expected
    assert compare_to_template(pair.template > 0, pair.board > 0) == expected
    assert compare_to_template(pair.template > 0, pair.board) == expected


def test_comparison_finds_the_defects_of_the_rendered_boards() -> None:
    truth = json.loads((BOARDS / "truth.json").read_text(encoding="utf-8"))
    counts = np.zeros(3, np.int64)
    for row in truth[::2]:
        good, board = (
            np.asarray(Image.open(BOARDS / f).convert("L"))
            for f in (f"eval/{row['design']}.png", row["file"])
        )
        counts += match(compare_to_template(good, board), [Box(*d["box"]) for d in row["defects"]])
    assert counts.sum() >= 10
    assert f_score(counts) >= 0.92


def test_boxes_are_in_the_pixels_of_the_board_not_of_the_template() -> None:
    rng = np.random.default_rng(5)
    template = np.kron(rng.integers(0, 2, (16, 16), dtype=np.uint8) * 255, np.ones((20, 20), np.uint8))
    board = np.roll(template, (2, -2), (0, 1))
    board[150:162, 200:212] = 255 - board[150:162, 200:212]
    (box,) = compare_to_template(template, board)
    assert (box.x0 + box.x1) / 2 == pytest.approx(206, abs=1.5)
    assert (box.y0 + box.y1) / 2 == pytest.approx(156, abs=1.5)


def test_equal_pictures_differ_nowhere() -> None:
    pair = make_pair(7)
    assert compare_to_template(pair.board, pair.board) == []
    for value in (0, 255):
        plain = np.full((640, 640), value, np.uint8)
        assert compare_to_template(plain, plain) == []


def test_an_all_black_board_is_one_large_difference() -> None:
    (box,) = compare_to_template(np.full((200, 300), 255, np.uint8), np.zeros((200, 300), np.uint8))
    assert iou(box, Box(0, 0, 300, 200)) > 0.9


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)),
    st.integers(0, 999),
)
def test_any_small_pictures_give_boxes_inside(template: NDArray[np.uint8], seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, template.shape, dtype=np.uint8)
    for box in compare_to_template(template, noise):
        assert 0 <= box.x0 < box.x1 <= template.shape[1]
        assert 0 <= box.y0 < box.y1 <= template.shape[0]


@pytest.mark.parametrize(
    ("template", "board", "message"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), "differ in size"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), "grey picture"),
        (np.zeros((4, 4)), np.zeros((4, 4)), "uint8"),
        (np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint8), "with pixels"),
    ],
)
def test_unfit_pictures_give_a_clear_error(
    template: NDArray[np.uint8], board: NDArray[np.uint8], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_to_template(template, board)


# loading


def saved(folder: Path, name: str, picture: Image.Image, **options: object) -> Path:
    path = folder / name
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", "png"), ("jpg", "jpeg"), ("gif", "gif"), ("webp", "webp")]
)
def test_a_fitting_picture_is_sent_byte_for_byte(tmp_path: Path, suffix: str, kind: str) -> None:
    path = saved(tmp_path, f"board.{suffix}", gradient())
    loaded = load_image(path)
    assert loaded.bytes == path.read_bytes()
    assert (loaded.format, loaded.width, loaded.height) == (kind, 64, 48)
    assert loaded.note == "sent as it is"


def test_the_format_is_read_from_the_file_not_from_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path, "board.png", gradient(), format="JPEG")
    assert load_image(path).format == "jpeg"


def test_every_board_fits_as_it_is() -> None:
    for path in (*BOARDS.glob("*.png"), *(BOARDS / "eval").glob("*.png")):
        assert load_image(path).note == "sent as it is"


def test_a_picture_with_too_many_bytes_is_made_smaller(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    path = saved(tmp_path, "noise.png", Image.fromarray(noise))
    assert path.stat().st_size > MAX_IMAGE_BYTES
    loaded = load_image(path)
    assert len(loaded.bytes) <= MAX_IMAGE_BYTES
    assert "JPEG" in loaded.note
    assert opened(loaded.bytes).size == (loaded.width, loaded.height)
    tiny = load_image(path, max_bytes=60_000)
    assert len(tiny.bytes) <= 60_000
    assert "scaled down from 1600 x 1200" in tiny.note
    with pytest.raises(ImageError, match="raise max_bytes"):
        load_image(path, max_bytes=200)


def test_a_picture_with_a_long_side_is_scaled(tmp_path: Path) -> None:
    path = saved(tmp_path, "long.png", Image.new("L", (MAX_IMAGE_SIDE + 1000, 90), 128))
    loaded = load_image(path)
    assert (loaded.width, loaded.height) == (8000, 80)
    assert "scaled down from 9000 x 90 to 8000 x 80" in loaded.note
    assert opened(loaded.bytes).size == (8000, 80)


def test_cmyk_jpeg_becomes_rgb_with_its_colours(tmp_path: Path) -> None:
    path = saved(tmp_path, "cmyk.jpg", Image.new("RGB", (32, 32), (30, 120, 60)).convert("CMYK"))
    loaded = load_image(path)
    assert "CMYK converted to RGB" in loaded.note
    picture = opened(loaded.bytes)
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture).mean((0, 1)) - (30, 120, 60)).max() < 8


def test_16_bit_grey_keeps_its_levels(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (16, 1))
    loaded = load_image(saved(tmp_path, "deep.png", Image.fromarray(ramp)))
    assert "16-bit" in loaded.note
    levels = np.asarray(opened(loaded.bytes))
    assert levels.dtype == np.uint8
    assert np.abs(levels[0].astype(int) - np.arange(256)).max() <= 1


def test_16_bit_colour_png_is_reduced(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = (8).to_bytes(4, "big") * 2 + bytes([16, 2, 0, 0, 0])
    rows = zlib.compress((b"\0" + b"\x80\0\x40\0\xff\xff" * 8) * 8)
    path = tmp_path / "deep.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    loaded = load_image(path)
    assert "16-bit" in loaded.note
    assert loaded.bytes[24] == 8
    assert opened(loaded.bytes).getpixel((0, 0)) == (128, 64, 255)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_transparent_parts_are_laid_on_white(tmp_path: Path, mode: str) -> None:
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (0, 0, 10, 20))
    loaded = load_image(saved(tmp_path, "clear.png", clear.convert(mode)))
    assert "laid on white" in loaded.note
    assert opened(loaded.bytes).convert("RGB").getpixel((15, 5)) == (255, 255, 255)


def test_the_first_frame_of_a_moving_gif_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    loaded = load_image(saved(tmp_path, "moving.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert "first of 3 frames" in loaded.note
    picture = opened(loaded.bytes)
    assert getattr(picture, "n_frames", 1) == 1
    assert picture.convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_image(saved(tmp_path, "turned.jpg", gradient(64, 48), exif=exif))
    assert (loaded.width, loaded.height) == (48, 64)
    assert "upright" in loaded.note
    assert opened(loaded.bytes).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(("suffix", "name"), [("bmp", "BMP"), ("tiff", "TIFF")])
def test_other_formats_are_converted(tmp_path: Path, suffix: str, name: str) -> None:
    loaded = load_image(saved(tmp_path, f"board.{suffix}", gradient()))
    assert loaded.format == "png"
    assert loaded.note == f"{name} converted to PNG"
    assert np.array_equal(np.asarray(opened(loaded.bytes)), np.asarray(gradient()))


def test_unreadable_files_give_one_clear_error(tmp_path: Path) -> None:
    whole = io.BytesIO()
    gradient(400, 300).save(whole, "PNG")
    cases = {
        "empty.png": (b"", "0 bytes"),
        "words.png": (b"this is no picture", "not a picture"),
        "cut.png": (whole.getvalue()[: len(whole.getvalue()) // 2], "cut short"),
        "head.png": (whole.getvalue()[:20], "not a picture|cut short"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=message) as caught:
            load_image(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(ImageError, match="check the path"):
        load_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="check the path"):
        load_image(tmp_path)


@pytest.mark.parametrize("side", [9_300, 20_000])
def test_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    path = saved(tmp_path, "bomb.png", Image.new("1", (side, side)))
    assert path.stat().st_size < 200_000
    with pytest.raises(ImageError, match="pixels when unpacked"):
        load_image(path)


def test_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "board.jpg", gradient(400, 300))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match="cut short"):
        load_image(path)
