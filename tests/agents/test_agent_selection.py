"""Which agent a Windows gets, and which it cannot run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.agents import AMD64, X86, program, qemu_files, qemu_wxs, spice_pair, write_files
from fixtures.agents import write_msi as write_installer
from fixtures.inf_texts import windows
from offline_mig.agents.agent import AgentKind
from offline_mig.agents.requirements import doubts, misfit, modules_to_look_for
from offline_mig.agents.selection import choose_agents
from offline_mig.agents.source import AgentSource, open_agent_source
from offline_mig.errors import NoDriverError
from offline_mig.windows.version import Architecture


def spice(
    folder: Path, architecture: Architecture, version: tuple[int, ...] = (0, 10, 0, 0)
) -> AgentSource:
    name = f"{architecture}-{'.'.join(map(str, version))}"
    return open_agent_source(write_files(folder / name, spice_pair(architecture, version=version)))


def qemu(
    folder: Path,
    architecture: Architecture = AMD64,
    *,
    since: tuple[int, int] | None = None,
    imports: Sequence[str] = ("KERNEL32.dll",),
) -> AgentSource:
    files = qemu_files(architecture, since=since, imports=imports)
    path = folder / f"qemu-ga-{architecture}.msi"
    return open_agent_source(write_installer(path, qemu_wxs(), files, architecture))


@pytest.mark.parametrize("release", ["xp", "2k3", "w7", "w10"])
@pytest.mark.parametrize("architecture", [X86, AMD64])
def test_each_windows_gets_the_build_for_its_processor(
    release: str, architecture: Architecture, tmp_path: Path
) -> None:
    sources = [spice(tmp_path, X86), spice(tmp_path, AMD64)]
    one = [AgentSource(tmp_path, sources[0].agents + sources[1].agents)]
    (choice,) = choose_agents(one, windows(release, architecture))
    assert choice.agent is not None
    assert choice.agent.architecture is architecture
    (passed,) = choice.passed_over
    assert "built for" in passed.reason


def test_the_newest_is_taken_and_of_equals_the_first(tmp_path: Path) -> None:
    old, new = spice(tmp_path, AMD64, (0, 9, 0, 0)), spice(tmp_path, AMD64, (0, 10, 0, 0))
    again = open_agent_source(new.path)
    (choice,) = choose_agents([old, new, again], windows("w10", AMD64))
    assert choice.agent is new.agents[0]
    assert len(choice.passed_over) == 2
    assert all("as new or newer" in passed.reason for passed in choice.passed_over)


def test_source_for_another_processor_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDriverError) as caught:
        choose_agents([spice(tmp_path, X86)], windows("w10", AMD64))
    assert "built for x86" in caught.value.message
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("since", "imports", "release", "told"),
    [
        ((6, 1), ("KERNEL32.dll",), "xp", "linked for Windows 7 and later"),
        ((6, 1), ("KERNEL32.dll",), "2k8", "linked for Windows 7 and later"),
        ((5, 1), ("bcrypt.dll",), "xp", "bcrypt.dll, which came with Windows Vista"),
        ((5, 1), ("KERNEL32.dll!GetTickCount64",), "xp", "function GetTickCount64"),
        ((5, 1), ("WS2_32.dll!inet_ntop",), "2k3", "function inet_ntop"),
        ((5, 1), ("api-ms-win-crt-heap-l1-1-0.dll",), "xp", "came with Windows Vista"),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason(
    since: tuple[int, int], imports: Sequence[str], release: str, told: str, tmp_path: Path
) -> None:
    source = qemu(tmp_path, X86, since=since, imports=imports)
    with pytest.raises(NoDriverError, match="qemu-ga") as caught:
        choose_agents([source], windows(release, X86))
    assert told in caught.value.message


def test_windows_2000_has_no_way_to_talk_to_an_agent(tmp_path: Path) -> None:
    windows_2000 = replace(windows("xp", X86), minor=0, build=2195)
    with pytest.raises(NoDriverError, match="VirtIO serial port"):
        choose_agents([spice(tmp_path, X86)], windows_2000)


@pytest.mark.parametrize("release", ["xp", "2k3"])
def test_nt5_is_told_of_the_last_agent_for_it(release: str, tmp_path: Path) -> None:
    with pytest.raises(NoDriverError) as caught:
        choose_agents([qemu(tmp_path, X86, since=(6, 0))], windows(release, X86))
    assert "0.1.96" in caught.value.remedy


def test_same_functions_are_no_obstacle_from_their_windows_on(tmp_path: Path) -> None:
    imports = ("bcrypt.dll", "KERNEL32.dll!GetTickCount64", "ws2_32.dll!inet_ntop")
    (agent,) = qemu(tmp_path, since=(6, 0), imports=imports).agents
    assert misfit(agent, windows("w7", AMD64)) is None
    assert modules_to_look_for(agent, windows("w7", AMD64)) == frozenset()


def test_library_that_comes_along_is_not_looked_for_in_windows(tmp_path: Path) -> None:
    (agent,) = qemu(tmp_path, imports=("libglib-2.0-0.dll", "libother.dll")).agents
    assert modules_to_look_for(agent, windows("w10", AMD64)) == {"libother.dll"}


def test_an_unusable_kind_beside_a_usable_one_is_no_failure(tmp_path: Path) -> None:
    agents = spice(tmp_path, X86).agents + qemu(tmp_path, X86, since=(6, 1)).agents
    choices = choose_agents([AgentSource(tmp_path, agents)], windows("xp", X86))
    chosen = {choice.kind: choice.agent for choice in choices}
    assert chosen[AgentKind.SPICE] is agents[0]
    assert chosen[AgentKind.QEMU] is None


def test_runtime_that_an_update_brings_is_told_where_it_is_missing(tmp_path: Path) -> None:
    module = "api-ms-win-crt-heap-l1-1-0.dll"
    (agent,) = qemu(tmp_path, imports=(module,)).agents
    seven = windows("w7", AMD64)
    assert misfit(agent, seven) is None
    assert modules_to_look_for(agent, seven) == {module}
    (note,) = doubts(agent, seven, frozenset({module}))
    assert "2999226" in note
    assert doubts(agent, seven, frozenset()) == ()
    assert modules_to_look_for(agent, windows("w10", AMD64)) == frozenset()


def test_program_of_an_unreadable_kind_is_for_no_windows(tmp_path: Path) -> None:
    files = {"vdagent.exe": program(AMD64), "vdservice.exe": b"MZ, and nothing else"}
    source = open_agent_source(write_files(tmp_path / "odd", files))
    with pytest.raises(NoDriverError, match="no known processor"):
        choose_agents([source], windows("w10", AMD64))
