"""Sockets and cores: all processors must be ones that Windows uses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.target_machines import SERVER_2022, WINDOWS_7, WINDOWS_10, WINDOWS_11, XP
from offline_mig.targets.processors import plan_processors, socket_limit
from offline_mig.windows.version import Architecture, WindowsVersion

XP_HOME = WindowsVersion(
    5, 1, 2600, Architecture.X86, product_name="Microsoft Windows XP Home Edition"
)
WINDOWS_7_HOME = WindowsVersion(6, 1, 7601, Architecture.AMD64, edition="HomePremium")


@pytest.mark.parametrize(
    ("windows", "limit"),
    [
        (XP_HOME, 1),
        (WINDOWS_7_HOME, 1),
        (WINDOWS_11, 1),
        (XP, 2),
        (WINDOWS_7, 2),
        (WINDOWS_10, 2),
        (SERVER_2022, None),
    ],
)
def test_sockets_that_windows_uses(windows: WindowsVersion, limit: int | None) -> None:
    assert socket_limit(windows) == limit


@pytest.mark.parametrize(
    ("vcpus", "cores_per_socket", "windows", "sockets", "cores"),
    [
        (4, None, SERVER_2022, 4, 1),
        (8, 4, SERVER_2022, 2, 4),
        (8, 3, SERVER_2022, 8, 1),
        (4, 1, WINDOWS_7, 2, 2),
        (3, 1, WINDOWS_7, 1, 3),
        (2, 1, WINDOWS_7, 2, 1),
        (8, 8, WINDOWS_10, 1, 8),
        (2, 1, XP_HOME, 1, 2),
        (0, None, WINDOWS_10, 1, 1),
        (-3, -1, XP, 1, 1),
    ],
)
def test_layout(
    vcpus: int, cores_per_socket: int | None, windows: WindowsVersion, sockets: int, cores: int
) -> None:
    layout = plan_processors(vcpus, cores_per_socket, windows)
    assert (layout.sockets, layout.cores) == (sockets, cores)


@given(
    st.integers(-10, 1000),
    st.none() | st.integers(-10, 100),
    st.sampled_from([XP, XP_HOME, WINDOWS_10, SERVER_2022]),
)
def test_no_processor_is_lost_or_idle(
    vcpus: int, cores_per_socket: int | None, windows: WindowsVersion
) -> None:
    layout = plan_processors(vcpus, cores_per_socket, windows)
    assert layout.count == max(vcpus, 1)
    assert layout.sockets <= (socket_limit(windows) or layout.sockets)
