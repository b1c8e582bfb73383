r"""Processor drivers of Windows XP and 2003 (processr.inf, cpu.inf).

Set-up takes the one for the processor that it finds. On one of another make, or one that a
hypervisor shows by halves, they fail with 0x7E when they switch power states (Microsoft KB 953356
has the case of intelppm on a processor of AMD).
"""

from __future__ import annotations

#: One of them is in use, by the processor that Windows was set up on. Windows runs without.
PROCESSOR_DRIVERS = ("intelppm", "processr", "p3", "amdk6", "amdk7", "amdk8", "amdppm", "crusoe")
