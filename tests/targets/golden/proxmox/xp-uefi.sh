#!/bin/sh
# Makes the machine xp-uefi on this node of Proxmox VE; run it as root.
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
[ -n "${DISK1-}" ] || DISK1=$here/xp-uefi.qcow2
[ -r "$DISK1" ] || fail "$DISK1 cannot be read: name it with DISK1."
case $DISK1 in *,*) fail "$DISK1 has a comma, which qm takes for an end: move it." ;; esac
VMID=${VMID:-$(pvesh get /cluster/nextid)}

qm create "$VMID" \
    --bios ovmf \
    --cores 1 \
    --cpu x86-64-v2-AES \
    --localtime 1 \
    --machine pc \
    --memory 1024 \
    --name xp-uefi \
    --numa 0 \
    --ostype wxp \
    --scsihw virtio-scsi-pci \
    --sockets 1 \
    --tablet 1 \
    --tdf 1 \
    --vga qxl,memory=32 \
    --vmgenid 0 \
    --net0 "virtio=00:0C:29:00:00:1B,bridge=$BRIDGE"
trap '[ $? -eq 0 ] || echo "The machine $VMID is not complete; remove it with: qm destroy $VMID" >&2' EXIT
qm set "$VMID" --efidisk0 "$STORAGE:1,efitype=4m,pre-enrolled-keys=0"
qm set "$VMID" --virtio0 "$STORAGE:0,import-from=$DISK1,discard=on,serial=59e4fe2bf1fe5a9eaef4"
qm set "$VMID" --boot order=virtio0
echo "Made. To start it: qm start $VMID"
