"""How a shell script finds UEFI firmware for QEMU on the host that it runs on."""

from __future__ import annotations

import shlex

#: Firmware without Secure Boot, and a file of its empty variables, as packages install them. The
#: first pair that is there is taken.
_PLAIN = (
    # Debian and Ubuntu (ovmf): 4 MiB images, then the 2 MiB ones of older releases
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    # Fedora, RHEL and their kin (edk2-ovmf)
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    # Arch (edk2-ovmf)
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    # openSUSE (qemu-ovmf-x86_64)
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
    # QEMU's own, of builds from source
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
    ("/usr/local/share/qemu/edk2-x86_64-code.fd", "/usr/local/share/qemu/edk2-i386-vars.fd"),
)
#: Firmware with Secure Boot, and variables that Microsoft's keys are enrolled in.
_SECURE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    (
        "/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin",
        "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin",
    ),
)


def firmware_lines(name: str, *, secure_boot: bool) -> tuple[str, ...]:
    """Return lines that set OVMF_CODE and VARS, the machine's own copy of the variables.

    They expect fail() and $here. ``name`` is the machine's.
    """
    pairs = _SECURE if secure_boot else _PLAIN
    kind = "UEFI firmware with Secure Boot" if secure_boot else "UEFI firmware"
    words = " \\\n    ".join(f"{code}:{variables}" for code, variables in pairs)
    return (
        f"# {kind}, where distributions put it.",
        'if [ -z "${OVMF_CODE-}" ] || [ -z "${OVMF_VARS-}" ]; then',
        "    OVMF_CODE=",
        "    for pair in \\",
        f"        {words.replace('    ', '        ')}",
        "    do",
        '        if [ -r "${pair%%:*}" ] && [ -r "${pair##*:}" ]; then',
        "            OVMF_CODE=${pair%%:*} OVMF_VARS=${pair##*:}",
        "            break",
        "        fi",
        "    done",
        "fi",
        (
            f'[ -n "$OVMF_CODE" ] || fail "no {kind} found: install the package ovmf or edk2-ovmf, '
            'or name its files with OVMF_CODE and OVMF_VARS."'
        ),
        "# The machine's own copy of the firmware's variables, made once.",
        f'[ -n "${{VARS-}}" ] || VARS=$here/{shlex.quote(f"{name}.vars.fd")}',
        '[ -e "$VARS" ] || cp -- "$OVMF_VARS" "$VARS"',
    )
