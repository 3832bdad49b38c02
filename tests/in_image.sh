#!/bin/sh
# Run a command in the lab's image, on this machine's kernel and at its speed: in_image.sh IMAGE COMMAND…, as root.
# Start it by `unshare --mount`. The image stays as it is; its kernel's headers are found by the name of the one that runs.
set -eu
project=$PWD disk=$(mktemp --tmpdir="${TMPDIR:-/var/tmp}")
qemu-img convert -O raw "$1/disk.qcow2" "$disk"
shift
mount -t tmpfs tmpfs /mnt
cd /mnt
mkdir image changes work root
mount -o loop,ro "$disk" image
rm "$disk"
mount -t overlay -o lowerdir=image,upperdir=changes,workdir=work overlay root
for place in /proc /sys /dev "$project"; do
    mkdir -p "root$place"
    mount --rbind "$place" "root$place"
done
mountpoint -q root/sys/kernel/tracing || mount -t tracefs tracefs root/sys/kernel/tracing
kernel=$(ls root/lib/modules)
for place in lib/modules usr/local/lib/bcc; do
    [ ! -e "root/$place/$kernel" ] || [ -e "root/$place/$(uname -r)" ] || ln -s "$kernel" "root/$place/$(uname -r)"
done
exec chroot root env -C "$project" PATH=/opt/lab/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
