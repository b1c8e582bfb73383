#!/bin/sh
# Makes the machine buro-lager-2 on this node of Proxmox VE; run it as root.
# The disks are looked for beside this script and copied. Environment variables:
#   VMID     number of the new machine (the next free one)
#   STORAGE  where its disks go (local-lvm)
#   BRIDGE   what its network cards are on (vmbr0)
#   DISK1    the first disk, DISK2 the second and so on
set -eu

fail() {
    printf '%s\n' "$0: $1" >&2
    exit 1
}
command -v qm >/dev/null || fail "qm is missing: run this on a node of Proxmox VE."
here=$(CDPATH="" cd -- "$(dirname -- "$0")" && pwd)
STORAGE=${STORAGE:-local-lvm}
BRIDGE=${BRIDGE:-vmbr0}
[ -n "${DISK1-}" ] || DISK1=$here/data.raw
[ -r "$DISK1" ] || fail "$DISK1 cannot be read: name it with DISK1."
case $DISK1 in *,*) fail "$DISK1 has a comma, which qm takes for an end: move it." ;; esac
[ -n "${DISK2-}" ] || DISK2=$here/system.qcow2
[ -r "$DISK2" ] || fail "$DISK2 cannot be read: name it with DISK2."
case $DISK2 in *,*) fail "$DISK2 has a comma, which qm takes for an end: move it." ;; esac
VMID=${VMID:-$(pvesh get /cluster/nextid)}

qm create "$VMID" \
    --bios seabios \
    --cores 1 \
    --cpu x86-64-v2-AES \
    --localtime 1 \
    --machine q35 \
    --memory 3072 \
    --name buro-lager-2 \
    --numa 0 \
    --ostype win7 \
    --rng0 source=/dev/urandom \
    --sata0 none,media=cdrom \
    --sata1 none,media=cdrom \
    --scsihw virtio-scsi-pci \
    --sockets 2 \
    --tablet 1 \
    --tdf 1 \
    --vga qxl,memory=32 \
    --vmgenid 0 \
    --net0 "virtio=00:0C:29:00:00:09,bridge=$BRIDGE" \
    --net1 "virtio,bridge=br0"
trap '[ $? -eq 0 ] || echo "The machine $VMID is not complete; remove it with: qm destroy $VMID" >&2' EXIT
qm set "$VMID" --scsi0 "$STORAGE:0,import-from=$DISK1,discard=on,serial=2655733e115752f7a978"
qm set "$VMID" --scsi1 "$STORAGE:0,import-from=$DISK2,discard=on,serial=455c45b05d9c55109f7e"
qm set "$VMID" --boot 'order=scsi1;scsi0'
echo "Made. To start it: qm start $VMID"
