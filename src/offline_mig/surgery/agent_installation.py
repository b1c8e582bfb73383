r"""Installing an agent by its own MSI at the first boot, over the files that are in place by then.

Offline the agent gets its files, service and registry values, and works. What an installer does
beyond that only Windows can do: the QEMU guest agent's registers the VSS provider by which file
systems are frozen, and Windows Installer records the product, so that it is listed, updated and
removed like any other.
"""

from __future__ import annotations

import re

from offline_mig.agents.agent import Agent, AgentKind
from offline_mig.surgery.facts import GuestFacts
from offline_mig.surgery.first_boot import FirstBootStep, StepFile, supports_first_boot

_UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
_NARROW = "WOW6432Node"
_IDS = {AgentKind.SPICE: "spice-agent", AgentKind.QEMU: "qemu-agent"}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}\.msi", re.IGNORECASE)
#: ERROR_SUCCESS_REBOOT_REQUIRED and ERROR_PRODUCT_VERSION of msi.h: done, but for a restart that
#: can wait; and there already, in another version.
_GOOD = (0, 3010, 1638)


def installation_step(facts: GuestFacts, agent: Agent) -> FirstBootStep | None:
    """Return the step that installs an agent's MSI; None where there is none or it is done already.

    Its messages about errors and states go to the log.
    """
    if not agent.installer or _is_recorded(facts, agent) or not supports_first_boot(facts):
        return None
    ((given, content),) = agent.given.items()
    name = _IDS[agent.kind]
    # Windows Installer asks for the package by its name when it is to repair or remove it.
    package = given if _PLAIN_NAME.fullmatch(given) else f"{name}.msi"
    ends = tuple(f'if "%CODE%"=="{code}" exit /b 0' for code in _GOOD)
    return FirstBootStep(
        name,
        f"install the {agent.kind} by its own installer, over the files that are in place",
        (
            (
                rf'"%SystemRoot%\System32\msiexec.exe" /i "%~dp0{package}" /qn /norestart '
                rf'/lie "%~dp0{name}.txt"'
            ),
            "set CODE=%errorlevel%",
            # It writes Unicode, which "type" turns into what the log is in.
            f'if exist "%~dp0{name}.txt" type "%~dp0{name}.txt"',
            *ends,
            "exit /b %CODE%",
        ),
        files=(StepFile(package, content, agent.origin),),
    )


def _is_recorded(facts: GuestFacts, agent: Agent) -> bool:
    """Tell whether Windows Installer knows the very product that the MSI installs."""
    return bool(agent.product_code) and any(
        facts.software.has_key(rf"{branch}{_UNINSTALL}\{agent.product_code}")
        for branch in ("", f"{_NARROW}\\")
    )
