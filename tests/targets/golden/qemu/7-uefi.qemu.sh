#!/bin/sh
# Runs win7, converted by offline-mig, under QEMU. What is given to this script
# is given to QEMU, after everything else. Environment variables:
#   QEMU        the program (qemu-system-x86_64)
#   ACCEL       kvm or tcg (kvm where it works)
#   CPU         the processor, with its features
#   MEMORY      in MiB
#   DISK1       the first disk, DISK2 the second and so on
#   NET1        what the first network card is on, as for -netdev, NET2 ...
#   SPICE_PORT  on this host only (5930)
#   VNC         number of the display, on this host only (0)
#   AGENT       socket of the QEMU guest agent
#   OVMF_CODE, OVMF_VARS  the firmware, and its empty variables
#   VARS        this machine's own variables
set -eu

fail() {
    printf '%s\n' "$0: $1" >&2
    exit 1
}
# QEMU takes a comma for the end of a value, and two for one.
escaped() {
    printf '%s' "$1" | sed 's/,/,,/g'
}
here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)
QEMU=${QEMU:-qemu-system-x86_64}
command -v "$QEMU" >/dev/null || fail "$QEMU is missing: install QEMU, or name it with QEMU."
MEMORY=${MEMORY:-4096}
[ -n "${DISK1-}" ] || DISK1=$here/win7.qcow2
[ -r "$DISK1" ] || fail "$DISK1 cannot be read: name it with DISK1."
[ -n "${NET1-}" ] || NET1=user
# For sockets, whose paths must be short.
run=$(mktemp -d "${XDG_RUNTIME_DIR:-/tmp}/guest.XXXXXX")
trap 'rm -rf -- "$run"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -n "${AGENT-}" ] || AGENT=$run/agent.sock

# A device node alone does not say that KVM works.
if [ -z "${ACCEL-}" ]; then
    ACCEL=tcg
    if [ -w /dev/kvm ] && echo quit | "$QEMU" -machine q35 \
        -accel kvm -cpu host -m 16 -S -nodefaults -display none -monitor stdio \
        >/dev/null 2>&1
    then
        ACCEL=kvm
    else
        printf '%s\n' "$0: KVM does not work here; this will be slow." >&2
    fi
fi
# The enlightenments are KVM's.
if [ "$ACCEL" = kvm ]; then
    CPU=${CPU:-host,migratable=on}
    set -- -global kvm-pit.lost_tick_policy=delay "$@"
else
    CPU=${CPU:-max}
fi

video=qxl-vga,vgamem_mb=32,ram_size_mb=64,vram_size_mb=64
# Not every QEMU has this card.
"$QEMU" -device help 2>/dev/null | grep -q '"qxl-vga"' || video=VGA,vgamem_mb=32
# QXL and SPICE come and go together.
if "$QEMU" -device help 2>/dev/null | grep -q '"qxl-vga"'; then
    set -- -spice "addr=127.0.0.1,port=${SPICE_PORT:-5930},disable-ticketing=on" \
        -chardev spicevmc,id=vdagent,name=vdagent \
        -device virtserialport,bus=serial.0,nr=2,chardev=vdagent,name=com.redhat.spice.0 "$@"
else
    set -- -vnc "127.0.0.1:${VNC:-0}" "$@"
fi

# UEFI firmware, where distributions put it.
if [ -z "${OVMF_CODE-}" ] || [ -z "${OVMF_VARS-}" ]; then
    OVMF_CODE=
    for pair in \
        /usr/share/OVMF/OVMF_CODE_4M.fd:/usr/share/OVMF/OVMF_VARS_4M.fd \
        /usr/share/OVMF/OVMF_CODE.fd:/usr/share/OVMF/OVMF_VARS.fd \
        /usr/share/edk2/ovmf/OVMF_CODE.fd:/usr/share/edk2/ovmf/OVMF_VARS.fd \
        /usr/share/edk2/x64/OVMF_CODE.4m.fd:/usr/share/edk2/x64/OVMF_VARS.4m.fd \
        /usr/share/qemu/ovmf-x86_64-4m-code.bin:/usr/share/qemu/ovmf-x86_64-4m-vars.bin \
        /usr/share/qemu/ovmf-x86_64-code.bin:/usr/share/qemu/ovmf-x86_64-vars.bin \
        /usr/share/qemu/edk2-x86_64-code.fd:/usr/share/qemu/edk2-i386-vars.fd \
        /usr/local/share/qemu/edk2-x86_64-code.fd:/usr/local/share/qemu/edk2-i386-vars.fd
    do
        if [ -r "${pair%%:*}" ] && [ -r "${pair##*:}" ]; then
            OVMF_CODE=${pair%%:*} OVMF_VARS=${pair##*:}
            break
        fi
    done
fi
[ -n "$OVMF_CODE" ] || fail "no UEFI firmware found: install the package ovmf or edk2-ovmf, or name its files with OVMF_CODE and OVMF_VARS."
# The machine's own copy of the firmware's variables, made once.
[ -n "${VARS-}" ] || VARS=$here/win7.vars.fd
[ -e "$VARS" ] || cp -- "$OVMF_VARS" "$VARS"

"$QEMU" \
    -name guest=win7 \
    -nodefaults -no-user-config -boot strict=on \
    -machine q35,hpet=off,vmport=off -accel "$ACCEL" -cpu "$CPU" \
    -m "$MEMORY" -smp 2,sockets=2,cores=1,threads=1 \
    -rtc base=localtime,driftfix=slew \
    -global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 \
    -drive "if=pflash,unit=0,format=raw,readonly=on,file=$(escaped "$OVMF_CODE")" \
    -drive "if=pflash,unit=1,format=raw,file=$(escaped "$VARS")" \
    -drive "if=none,id=disk1,format=qcow2,discard=unmap,file=$(escaped "$DISK1")" \
    -netdev "$NET1,id=net1" \
    -chardev "socket,id=agent,server=on,wait=off,path=$(escaped "$AGENT")" \
    -object rng-random,id=random,filename=/dev/urandom \
    -device "$video,bus=pcie.0,addr=0x1" \
    -device pcie-root-port,id=port1,chassis=1,bus=pcie.0,addr=0x2.0x0,multifunction=on \
    -device pcie-root-port,id=port2,chassis=2,bus=pcie.0,addr=0x2.0x1 \
    -device pcie-root-port,id=port3,chassis=3,bus=pcie.0,addr=0x2.0x2 \
    -device pcie-root-port,id=port4,chassis=4,bus=pcie.0,addr=0x2.0x3 \
    -device pcie-root-port,id=port5,chassis=5,bus=pcie.0,addr=0x2.0x4 \
    -device virtio-blk-pci,drive=disk1,bootindex=1,serial=bd84e1090d205b179a9f,bus=port1 \
    -device virtio-net-pci,netdev=net1,mac=00:0c:29:00:00:11,bus=port2 \
    -device virtio-serial-pci,id=serial,bus=port3 \
    -device virtio-balloon-pci,bus=port4 \
    -device virtio-rng-pci,rng=random,bus=port5 \
    -device ich9-usb-ehci1,id=usb,addr=0x1d.0x7,multifunction=on \
    -device ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=0x1d.0x0,multifunction=on \
    -device ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=0x1d.0x1,multifunction=on \
    -device ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=0x1d.0x2,multifunction=on \
    -device usb-tablet,bus=usb.0 \
    -device virtserialport,bus=serial.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0 \
    "$@"
