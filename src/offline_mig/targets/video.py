"""The video card and how much memory it needs for a resolution."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: KiB in a MiB: libvirt counts video memory in KiB, the devices are sized in MiB.
_MIB = 1024
#: What libvirt gives a QXL card of which nothing is said (domain XML format, "Video devices"):
#: 64 MiB in each of the two memory BARs, 16 MiB of the first as the framebuffer.
_DEFAULT_BAR = 64 * _MIB
_DEFAULT_FRAMEBUFFER = 16 * _MIB
#: More is pointless for one head, and two BARs of 32-bit machines must fit below 4 GiB.
_LARGEST_FRAMEBUFFER = 256 * _MIB


class VideoModel(StrEnum):
    """Video cards by libvirt's name for the model."""

    QXL = "qxl"
    VGA = "vga"
    CIRRUS = "cirrus"


@dataclass(frozen=True, slots=True)
class VideoCard:
    """A video card; every size is in KiB.

    ``framebuffer`` is the memory that the screen is drawn into: of a QXL card that is libvirt's
    ``vgamem``, and it bounds the resolutions that the driver offers. A QXL card has two BARs
    besides: ``ram`` (the framebuffer, the command rings and the primary surface; QEMU wants it at
    least twice the framebuffer) and ``vram`` (surfaces off the screen). A VGA card has neither,
    both are 0, and libvirt calls its framebuffer ``vram``.
    """

    model: VideoModel
    framebuffer: int
    ram: int = 0
    vram: int = 0


#: QEMU's Cirrus Logic GD5446 with the 16 MiB that libvirt gives it. Windows 2000 and XP have its
#: driver in the box, and none for any other card of QEMU's but as a plain VGA with 16 colours.
CIRRUS = VideoCard(VideoModel.CIRRUS, _DEFAULT_FRAMEBUFFER)


def video_memory(width: int, height: int, bits: int = 32, framebuffers: int = 3) -> int:
    """Return the video memory in KiB for a resolution in pixels: a whole number of MiB.

    The rule is the one of the SPICE and QXL guides for people: at least twice, better three
    times a framebuffer, so that the driver can change modes and draw in one buffer while the
    other is shown, rounded up to a MiB. 1024 x 768 at 32 bits comes to 9216 KiB, which was
    libvirt's own default for years. Raises ValueError unless every argument is positive.
    """
    if min(width, height, bits, framebuffers) <= 0:
        raise ValueError("A resolution, its depth and its framebuffers are positive numbers.")
    size = (width * height * bits + 7) // 8 * framebuffers
    return -(-size // (_MIB * 1024)) * _MIB


def plan_video(resolution: tuple[int, int], *, qxl: bool) -> VideoCard:
    """Return the card for a screen: QXL for a guest that has its driver, else standard VGA.

    The framebuffer is a power of two, because QEMU rounds it up to one and a document that says
    less than what runs misleads; it lies between 16 and 256 MiB. Raises ValueError for a
    resolution that is not positive.
    """
    needed = video_memory(*resolution)
    framebuffer = min(max(_power_of_two(needed), _DEFAULT_FRAMEBUFFER), _LARGEST_FRAMEBUFFER)
    if not qxl:
        return VideoCard(VideoModel.VGA, framebuffer)
    ram = max(_DEFAULT_BAR, 2 * framebuffer)
    return VideoCard(VideoModel.QXL, framebuffer, ram, _DEFAULT_BAR)


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()
