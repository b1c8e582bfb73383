r"""The script that runs the steps of a first boot: plain cmd.exe as Windows XP has it.

It is called by the service, which the service control manager gives 30 seconds to report for duty
(ServicesPipeTimeout; Microsoft, event 7009) before it ends its process. No script can report. So
the script starts itself once more and is gone: what was started is a process of its own, which
nobody waits for, and no job holds it.

What it says of itself in the log begins with ``offline-mig`` and is in words that no language of
Windows changes, for ``first_boot_log`` to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: Beginning of every line in the log that is the runner's own.
MARK = "offline-mig"
#: Seconds between two tries, of which ping waits one less than it counts.
_PAUSE = 20
#: Seconds that a user who is there already has to save what is open.
_WARNING = 30


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """A step as the runner knows it: its script is ``id``.cmd beside the runner."""

    id: str
    tries: int
    restart: bool


def runner_script(service: str, run: str, steps: Sequence[ScriptStep]) -> str:
    r"""Return the runner, with ``\n`` at the ends of its lines.

    ``run`` tells one conversion's steps from another's: what an earlier run has counted does not
    count for this one. A try is counted before it is made, so that one which stops Windows counts
    as well; a step that cannot be counted is not run. A restart is made once, after the step is
    marked as done: whatever happens, no step can restart Windows twice.
    """
    return "".join(f"{line}\n" for line in _lines(service, run, steps))


def _lines(service: str, run: str, steps: Iterable[ScriptStep]) -> Iterator[str]:
    yield from _HEAD.format(run=run).splitlines()
    for step in steps:
        yield f"call :step {step.id} {step.tries} {'restart' if step.restart else 'stay'}"
        if step.restart:
            yield "if defined RESTART goto restart"
    yield from _TAIL.format(
        mark=MARK, service=service, pings=_PAUSE + 1, warning=_WARNING
    ).splitlines()


_HEAD = f"""\
@echo off
rem What offline-mig left for the first boot. It removes itself when all is done.
setlocal enableextensions disabledelayedexpansion
if "%~1"=="steps" goto steps
rem Windows waits 30 seconds for a service, so the steps go on without it.
start "{MARK}" /b "%SystemRoot%\\System32\\cmd.exe" /d /c ""%~f0" steps"
exit
:steps
set HERE=%~dp0first-boot
set LOG=%~dp0first-boot.log
set RUN={{run}}
set PENDING=
set RESTART=
>>"%LOG%" echo {MARK} start %date% %time%
if not exist "%HERE%" goto end
cd /d "%HERE%"
"""
_TAIL = """\
if defined PENDING exit
:end
rem The service first: without it nothing calls what is deleted next.
cd /d "%SystemRoot%"
"%SystemRoot%\\System32\\sc.exe" delete {service} >nul 2>&1
set KEY=HKLM\\SYSTEM\\CurrentControlSet\\Services\\{service}
rem Where somebody looks at it, it goes with the next start only.
"%SystemRoot%\\System32\\reg.exe" query "%KEY%" >nul 2>&1
if errorlevel 1 goto gone
"%SystemRoot%\\System32\\reg.exe" add "%KEY%" /v Start /t REG_DWORD /d 4 /f >nul 2>&1
:gone
>>"%LOG%" echo {mark} end
rd /s /q "%HERE%"
rem One line: there is no script to read on from afterwards.
del "%~f0" & exit

:step
rem Run a step: its name, how often it is tried, whether Windows restarts after it.
if exist "%1.%RUN%.done" goto :eof
if exist "%1.%RUN%.given-up" goto :eof
:again
set TRY=
for /l %%n in (%2,-1,1) do if not exist "%1.%RUN%.try%%n" set TRY=%%n
if not defined TRY goto given_up
>"%1.%RUN%.try%TRY%" echo %date% %time%
if not exist "%1.%RUN%.try%TRY%" goto uncounted
>>"%LOG%" echo {mark} step %1 try %TRY% of %2
rem What a step leaves running may keep the file open that it speaks to: not the log.
"%SystemRoot%\\System32\\cmd.exe" /d /c ""%HERE%\\%1.cmd"" >"%1.%RUN%.said%TRY%" 2>&1 <nul
set CODE=%errorlevel%
type "%1.%RUN%.said%TRY%" >>"%LOG%" 2>nul
rem That may end without the end of a line.
>>"%LOG%" echo.
if "%CODE%"=="0" goto done
>>"%LOG%" echo {mark} step %1 failed %CODE%
if "%TRY%"=="%2" goto given_up
"%SystemRoot%\\System32\\ping.exe" -n {pings} 127.0.0.1 >nul
goto again

:done
>"%1.%RUN%.done" echo %date% %time%
>>"%LOG%" echo {mark} step %1 done
if "%3"=="restart" if exist "%1.%RUN%.done" set RESTART=%1
goto :eof

:given_up
>"%1.%RUN%.given-up" echo %date% %time%
>>"%LOG%" echo {mark} step %1 given-up
goto :eof

:uncounted
>>"%LOG%" echo {mark} step %1 uncounted
set PENDING=1
goto :eof

:restart
>>"%LOG%" echo {mark} restart %RESTART%
"%SystemRoot%\\System32\\shutdown.exe" -r -t {warning} -c "offline-mig: %RESTART%" >>"%LOG%" 2>&1
exit
"""
