"""Video memory: the numbers of the guides for people, and what QEMU demands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_mig.targets.devices import VideoModel
from offline_mig.targets.video import plan_video, video_memory

sides = st.integers(1, 20000)


@pytest.mark.parametrize(
    ("arguments", "kibibytes"),
    [
        # The guide's: 1024 x 768 x 24 bits are 2.25 MiB, and the default of 9216 leaves room.
        ((1024, 768, 24, 1), 3 * 1024),
        ((1024, 768, 24, 2), 5 * 1024),
        ((1024, 768, 24, 3), 7 * 1024),
        ((1024, 768), 9216),
        ((1920, 1080), 24 * 1024),
        ((3840, 2160), 95 * 1024),
        ((1, 1, 1, 1), 1024),
        ((512, 512, 32, 1), 1024),
        ((512, 513, 32, 1), 2048),
    ],
)
def test_video_memory_in_kibibytes(arguments: tuple[int, ...], kibibytes: int) -> None:
    assert video_memory(*arguments) == kibibytes


@pytest.mark.parametrize("arguments", [(0, 768), (1024, -1), (1, 1, 0), (1, 1, 32, 0)])
def test_nonsense_is_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="positive"):
        video_memory(*arguments)


@given(sides, sides)
def test_video_memory_holds_three_framebuffers_and_less_than_a_mebibyte_more(
    width: int, height: int
) -> None:
    spare = video_memory(width, height) * 1024 - 3 * width * height * 4
    assert 0 <= spare < 1 << 20


@given(sides, sides)
def test_qxl_card_obeys_qemu(width: int, height: int) -> None:
    card = plan_video((width, height), VideoModel.QXL)
    assert card.model is VideoModel.QXL
    assert card.framebuffer & (card.framebuffer - 1) == 0
    assert 16 * 1024 <= card.framebuffer <= 256 * 1024
    assert card.ram >= 2 * card.framebuffer
    assert card.ram & (card.ram - 1) == 0


@pytest.mark.parametrize(
    ("resolution", "framebuffer", "ram"),
    [
        ((1024, 768), 16384, 65536),
        ((1920, 1080), 32768, 65536),
        ((2560, 1440), 65536, 131072),
        ((3840, 2160), 131072, 262144),
    ],
)
def test_cards_for_common_screens(resolution: tuple[int, int], framebuffer: int, ram: int) -> None:
    card = plan_video(resolution, VideoModel.QXL)
    assert (card.framebuffer, card.ram, card.vram) == (framebuffer, ram, 65536)


@pytest.mark.parametrize("model", [VideoModel.VGA, VideoModel.VIRTIO])
def test_other_cards_have_a_framebuffer_only(model: VideoModel) -> None:
    card = plan_video((1920, 1080), model)
    assert (card.model, card.framebuffer, card.ram, card.vram) == (model, 32768, 0, 0)
