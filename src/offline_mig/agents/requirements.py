"""Whether a Windows runs an agent, by the headers of its programs and what they import.

The loader of Windows refuses a program that is linked for a later subsystem version than its own,
and one that imports a module or a function which is not there. Since which Windows a function is
there, its page in Microsoft's reference says ("Minimum supported client").
"""

from __future__ import annotations

from offline_mig.agents.agent import Agent
from offline_mig.windows.version import WindowsVersion

#: The first Windows with a driver for the serial port by which agents talk to the host.
_FIRST_VIRTIO = (5, 1)
#: Modules that every Windows since XP has.
_EVERYWHERE = frozenset(
    "activeds advapi32 authz cfgmgr32 comctl32 comdlg32 credui crypt32 dbghelp dnsapi gdi32 imm32 "  # noqa: SIM905
    "iphlpapi kernel32 mpr mswsock msvcrt netapi32 ntdll ole32 oleaut32 pdh powrprof psapi rpcrt4 "
    "secur32 setupapi shell32 shlwapi user32 userenv uxtheme version vssapi winmm ws2_32 "
    "wtsapi32".split()
)
#: Modules by the NT version that first has them.
_MODULES = {"bcrypt": (6, 0), "dwmapi": (6, 0), "ncrypt": (6, 0), "wevtapi": (6, 0)}
#: The universal C runtime belongs to Windows 10; from Vista on an update brings it (KB 2999226).
_RUNTIME, _RUNTIME_PARTS = "ucrtbase", "api-ms-win-crt-"
_RUNTIME_UPDATE, _RUNTIME_INBOX = (6, 0), (10, 0)
#: Functions that programs of today are found to import, by the NT version that first has them.
_FUNCTIONS = {
    ("kernel32", name): version
    for version, names in (
        (
            (6, 0),
            (
                "AcquireSRWLockExclusive AcquireSRWLockShared CancelIoEx CreateSymbolicLinkW "
                "GetFileInformationByHandleEx GetFinalPathNameByHandleW GetTickCount64 "
                "InitOnceBeginInitialize InitOnceExecuteOnce InitializeConditionVariable "
                "InitializeSRWLock QueryFullProcessImageNameW ReleaseSRWLockExclusive "
                "SleepConditionVariableCS SleepConditionVariableSRW WakeAllConditionVariable "
                "WakeConditionVariable"
            ),
        ),
        (
            (6, 1),
            (
                "GetActiveProcessorCount GetLogicalProcessorInformationEx K32EnumProcesses "
                "K32GetModuleFileNameExW TryAcquireSRWLockExclusive"
            ),
        ),
        ((6, 2), "CreateFile2 GetSystemTimePreciseAsFileTime"),
        ((10, 0), "SetThreadDescription"),
    )
    for name in names.split()
} | {
    ("iphlpapi", "GetIfEntry2"): (6, 0),
    ("iphlpapi", "if_indextoname"): (6, 0),
    ("iphlpapi", "if_nametoindex"): (6, 0),
    ("setupapi", "SetupDiGetDevicePropertyW"): (6, 0),
    ("shell32", "SHGetKnownFolderPath"): (6, 0),
    ("ws2_32", "WSAPoll"): (6, 0),
    ("ws2_32", "inet_ntop"): (6, 0),
    ("ws2_32", "inet_pton"): (6, 0),
}


def misfit(agent: Agent, windows: WindowsVersion) -> str | None:
    """Return why ``windows`` cannot run an agent, as the end of a sentence; None if it can."""
    if windows.nt < _FIRST_VIRTIO:
        return "agents talk through a VirtIO serial port, for which this Windows has no driver"
    if agent.architecture is not windows.architecture:
        built = f"for {agent.architecture}" if agent.architecture else "for no known processor"
        return f"it is built {built}, and this Windows is {windows.architecture}"
    for name, image in sorted(agent.images.items()):
        if image.architecture is not agent.architecture:
            continue  # A helper that this agent's own processes cannot load.
        if image.subsystem_version > windows.nt:
            return f"its {name} is linked for {_nt(image.subsystem_version)} and later"
        for module, functions in image.imports.items():
            stem = module.removesuffix(".dll")
            if module in agent.images:
                continue
            since = _MODULES.get(stem, (0, 0))
            if _is_runtime(stem):
                since = _RUNTIME_UPDATE
            if since > windows.nt:
                return f"its {name} needs {module}, which came with {_nt(since)}"
            for function in functions:
                since = _FUNCTIONS.get((stem, function), (0, 0))
                if since > windows.nt:
                    return (
                        f"its {name} needs the function {function} of {module}, which came with "
                        f"{_nt(since)}"
                    )
    return None


def modules_to_look_for(agent: Agent, windows: WindowsVersion) -> frozenset[str]:
    """Return the modules that an agent needs, and of which only the guest can tell."""
    needed = {module for image in agent.images.values() for module in image.imports}
    return frozenset(
        module
        for module in needed - agent.images.keys()
        if not _is_certain(module.removesuffix(".dll"), windows)
    )


def doubts(agent: Agent, windows: WindowsVersion, missing: frozenset[str]) -> tuple[str, ...]:
    """Return notes about what may keep an agent from running.

    ``missing`` are those of ``modules_to_look_for`` that are not in the guest's System32.
    """
    found = []
    if missing:
        update = any(_is_runtime(module.removesuffix(".dll")) for module in missing)
        remedy = "Install Microsoft's update KB 2999226 there" if update else "Install what has it"
        found.append(
            f"The {agent.kind} may not start: it needs {', '.join(sorted(missing))}, which this "
            f"Windows lacks in System32. {remedy}."
        )
    later = sorted(name for name, i in agent.images.items() if i.system_version > windows.nt)
    if later:
        found.append(
            f"It is unsure whether the {agent.kind} runs on this Windows: the headers of "
            f"{', '.join(later)} name a later one."
        )
    return tuple(found)


def _is_runtime(stem: str) -> bool:
    return stem == _RUNTIME or stem.startswith(_RUNTIME_PARTS)


def _is_certain(stem: str, windows: WindowsVersion) -> bool:
    if _is_runtime(stem):
        return windows.nt >= _RUNTIME_INBOX
    return stem in _EVERYWHERE or stem in _MODULES


def _nt(version: tuple[int, int]) -> str:
    names = {
        (5, 1): "Windows XP",
        (5, 2): "Windows Server 2003",
        (6, 0): "Windows Vista",
        (6, 1): "Windows 7",
        (6, 2): "Windows 8",
        (6, 3): "Windows 8.1",
        (10, 0): "Windows 10",
    }
    return names.get(version, f"Windows NT {version[0]}.{version[1]}")
