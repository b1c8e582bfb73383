"""The video card, and how much memory it needs for a resolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from offline_mig.targets.devices import Graphics, VideoModel
from offline_mig.targets.options import DriversInPlace, TargetOptions
from offline_mig.windows.version import WindowsVersion

#: KiB in a MiB: libvirt counts video memory in KiB, the devices are sized in MiB.
_MIB = 1024
#: What libvirt gives a QXL card of which nothing is said (domain XML format, "Video devices"):
#: 64 MiB in each of the two memory BARs, 16 MiB of the first as the framebuffer.
_DEFAULT_BAR = 64 * _MIB
_DEFAULT_FRAMEBUFFER = 16 * _MIB
#: More is pointless for one head, and two BARs of 32-bit machines must fit below 4 GiB.
_LARGEST_FRAMEBUFFER = 256 * _MIB
#: How the cards are called to people.
_TITLES = {
    VideoModel.QXL: "QXL",
    VideoModel.VIRTIO: "virtio-gpu",
    VideoModel.VGA: "standard VGA",
    VideoModel.CIRRUS: "a Cirrus Logic card",
}
_NT6 = (6, 0)


@dataclass(frozen=True, slots=True)
class VideoCard:
    """A video card; every size is in KiB.

    ``framebuffer`` is the memory that the screen is drawn into: of a QXL card that is libvirt's
    ``vgamem``, and it bounds the resolutions that the driver offers. A QXL card has two BARs
    besides: ``ram`` (the framebuffer, the command rings and the primary surface; QEMU wants it at
    least twice the framebuffer) and ``vram`` (surfaces off the screen). A VGA card has neither,
    both are 0, and libvirt calls its framebuffer ``vram``. A virtio-gpu draws into the guest's own
    memory, and the framebuffer says how much of it.
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


def choose_video(
    windows: WindowsVersion, options: TargetOptions, drivers: DriversInPlace, notes: list[str]
) -> VideoCard:
    """Return the card that the user asked for, or the best one that this Windows has a driver for.

    What may surprise is added to ``notes``.
    """
    model = options.video or _best_model(windows, options, drivers)
    if model is VideoModel.CIRRUS:
        notes.append(
            "The screen is a Cirrus Logic card, the best one that this Windows itself has a driver "
            "for: as a plain VGA any other would show 16 colours."
        )
        return CIRRUS
    card = plan_video(options.resolution, model)
    if card.framebuffer < video_memory(*options.resolution):
        width, height = options.resolution
        notes.append(
            f"{width} x {height} is more than one virtual screen can have; the video memory is "
            f"{card.framebuffer // 1024} MiB, which is the most that it gets."
        )
    notes += _screen_notes(model, windows, options, drivers)
    return card


def _best_model(
    windows: WindowsVersion, options: TargetOptions, drivers: DriversInPlace
) -> VideoModel:
    if drivers.video and options.graphics is Graphics.SPICE:
        return VideoModel.QXL
    return VideoModel.CIRRUS if windows.nt < _NT6 else VideoModel.VGA


def _screen_notes(
    model: VideoModel, windows: WindowsVersion, options: TargetOptions, drivers: DriversInPlace
) -> Iterator[str]:
    screen = f"The screen is {_TITLES[model]} over {options.graphics.upper()}"
    if options.graphics is Graphics.VNC:
        yield f"{screen}: no clipboard, no automatic resizing."
    elif model is VideoModel.QXL:
        yield (
            f"{screen}; a host whose QEMU lacks SPICE, such as Red Hat Enterprise Linux 9 and "
            "later, needs --graphics vnc instead."
        )
    elif options.video is None:
        yield (f"{screen}, since there is no QXL driver for this Windows: no automatic resizing.")
    else:
        yield f"{screen}: no automatic resizing."
    driven = {VideoModel.QXL: drivers.video, VideoModel.VIRTIO: drivers.gpu}
    if not driven.get(model, windows.nt >= _NT6):
        colours = " with 16 colours" if windows.nt < _NT6 else ""
        yield (
            f"{_TITLES[model]} was asked for and the guest has no driver for it: it is a plain "
            f"VGA{colours} until one is installed."
        )


def plan_video(resolution: tuple[int, int], model: VideoModel) -> VideoCard:
    """Return a card that is made for a screen.

    The framebuffer is a power of two, because QEMU rounds it up to one and a document that says
    less than what runs misleads; it lies between 16 and 256 MiB. Raises ValueError for a
    resolution that is not positive.
    """
    needed = video_memory(*resolution)
    framebuffer = min(max(_power_of_two(needed), _DEFAULT_FRAMEBUFFER), _LARGEST_FRAMEBUFFER)
    if model is not VideoModel.QXL:
        return VideoCard(model, framebuffer)
    ram = max(_DEFAULT_BAR, 2 * framebuffer)
    return VideoCard(model, framebuffer, ram, _DEFAULT_BAR)


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()
