#!/bin/sh
# Runs Büro & "Lager" <2>, converted by offline-mig, under QEMU. What is given to this script
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
MEMORY=${MEMORY:-3072}
[ -n "${DISK1-}" ] || DISK1=$here/data.raw
[ -r "$DISK1" ] || fail "$DISK1 cannot be read: name it with DISK1."
[ -n "${DISK2-}" ] || DISK2=$here/system.qcow2
[ -r "$DISK2" ] || fail "$DISK2 cannot be read: name it with DISK2."
[ -n "${NET1-}" ] || NET1=user
[ -n "${NET2-}" ] || NET2=bridge,br=br0
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
    CPU=${CPU:-host,migratable=on,hv-relaxed=on,hv-vapic=on,hv-spinlocks=8191,hv-vpindex=on,hv-runtime=on,hv-synic=on,hv-stimer=on,hv-frequencies=on,hv-tlbflush=on,hv-ipi=on,hv-time=on}
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

"$QEMU" \
    -name 'guest=Büro & "Lager" <2>' \
    -nodefaults -no-user-config -boot strict=on \
    -machine q35,hpet=off,vmport=off -accel "$ACCEL" -cpu "$CPU" \
    -m "$MEMORY" -smp 2,sockets=2,cores=1,threads=1 \
    -rtc base=localtime,driftfix=slew \
    -global ICH9-LPC.disable_s3=1 -global ICH9-LPC.disable_s4=1 \
    -drive "if=none,id=disk1,format=raw,discard=unmap,file=$(escaped "$DISK1")" \
    -drive "if=none,id=disk2,format=qcow2,discard=unmap,file=$(escaped "$DISK2")" \
    -netdev "$NET1,id=net1" \
    -netdev "$NET2,id=net2" \
    -chardev "socket,id=agent,server=on,wait=off,path=$(escaped "$AGENT")" \
    -object rng-random,id=random,filename=/dev/urandom \
    -device "$video,bus=pcie.0,addr=0x1" \
    -device pcie-root-port,id=port1,chassis=1,bus=pcie.0,addr=0x2.0x0,multifunction=on \
    -device pcie-root-port,id=port2,chassis=2,bus=pcie.0,addr=0x2.0x1 \
    -device pcie-root-port,id=port3,chassis=3,bus=pcie.0,addr=0x2.0x2 \
    -device pcie-root-port,id=port4,chassis=4,bus=pcie.0,addr=0x2.0x3 \
    -device pcie-root-port,id=port5,chassis=5,bus=pcie.0,addr=0x2.0x4 \
    -device pcie-root-port,id=port6,chassis=6,bus=pcie.0,addr=0x2.0x5 \
    -device virtio-scsi-pci,id=scsi,bus=port1 \
    -device virtio-net-pci,netdev=net1,mac=00:0c:29:00:00:09,bus=port2 \
    -device virtio-net-pci,netdev=net2,bus=port3 \
    -device virtio-serial-pci,id=serial,bus=port4 \
    -device virtio-balloon-pci,bus=port5 \
    -device virtio-rng-pci,rng=random,bus=port6 \
    -device scsi-hd,bus=scsi.0,scsi-id=0,drive=disk1,bootindex=2,serial=2655733e115752f7a978 \
    -device scsi-hd,bus=scsi.0,scsi-id=1,drive=disk2,bootindex=1,serial=455c45b05d9c55109f7e \
    -device ide-cd,bus=ide.0 \
    -device ide-cd,bus=ide.1 \
    -device ich9-usb-ehci1,id=usb,addr=0x1d.0x7,multifunction=on \
    -device ich9-usb-uhci1,masterbus=usb.0,firstport=0,addr=0x1d.0x0,multifunction=on \
    -device ich9-usb-uhci2,masterbus=usb.0,firstport=2,addr=0x1d.0x1,multifunction=on \
    -device ich9-usb-uhci3,masterbus=usb.0,firstport=4,addr=0x1d.0x2,multifunction=on \
    -device usb-tablet,bus=usb.0 \
    -device virtserialport,bus=serial.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0 \
    "$@"
