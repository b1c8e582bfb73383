#!/bin/sh
# Runs vista, converted by offline-mig, under QEMU. What is given to this script
# is given to QEMU, after everything else. Environment variables:
#   QEMU        the program (qemu-system-x86_64)
#   ACCEL       kvm or tcg (kvm where it works)
#   CPU         the processor, with its features
#   MEMORY      in MiB
#   DISK1       the first disk, DISK2 the second and so on
#   NET1        what the first network card is on, as for -netdev, NET2 ...
#   VNC         number of the display, on this host only (0)
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
MEMORY=${MEMORY:-2048}
[ -n "${DISK1-}" ] || DISK1=$here/vista.qcow2
[ -r "$DISK1" ] || fail "$DISK1 cannot be read: name it with DISK1."
[ -n "${NET1-}" ] || NET1=user
# For sockets, whose paths must be short.
run=$(mktemp -d "${XDG_RUNTIME_DIR:-/tmp}/guest.XXXXXX")
trap 'rm -rf -- "$run"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

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
    CPU=${CPU:-host,migratable=on,hv-relaxed=on,hv-vapic=on,hv-spinlocks=8191,hv-vpindex=on,hv-runtime=on,hv-synic=on,hv-stimer=on,hv-frequencies=on,hv-tlbflush=on,hv-ipi=on,hv-time=on}
    set -- -global kvm-pit.lost_tick_policy=delay "$@"
else
    CPU=${CPU:-max}
fi

video=VGA,vgamem_mb=32
set -- -vnc "127.0.0.1:${VNC:-0}" -audiodev none,id=sound "$@"

"$QEMU" \
    -name guest=vista \
    -nodefaults -no-user-config -boot strict=on \
    -machine q35,hpet=off,vmport=off -accel "$ACCEL" -cpu "$CPU" \
    -m "$MEMORY" -smp 1,sockets=1,cores=1,threads=1 \
    -rtc base=localtime,driftfix=slew \
    -global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 \
    -drive "if=none,id=disk1,format=qcow2,discard=unmap,file=$(escaped "$DISK1")" \
    -netdev "$NET1,id=net1" \
    -device "$video,bus=pcie.0,addr=0x1" \
    -device pcie-root-port,id=port1,chassis=1,bus=pcie.0,addr=0x2.0x0,multifunction=on \
    -device virtio-blk-pci,drive=disk1,bootindex=1,serial=5b7259c127c5548ea2ac,bus=port1 \
    -device e1000,netdev=net1,mac=00:0c:29:00:00:10 \
    -device ich9-usb-ehci1,id=usb,addr=0x1d.0x7,multifunction=on \
    -device ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=0x1d.0x0,multifunction=on \
    -device ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=0x1d.0x1,multifunction=on \
    -device ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=0x1d.0x2,multifunction=on \
    -device usb-tablet,bus=usb.0 \
    -device ich9-intel-hda \
    -device hda-duplex,audiodev=sound \
    "$@"
