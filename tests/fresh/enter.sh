#!/bin/bash
# unshare --mount --uts --pid --fork bash enter.sh ROOT USER COMMAND BEFORE: a Debian root as a machine
# of its own, a user who runs COMMAND there, and root who has run BEFORE. By
# pivot_root, because a process in a chroot may make no user namespace, which mmdebstrap needs without root.
set -eu
root=$1 user=$2 command=$3 before=$4
mount --make-rprivate /
mount --rbind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir -p "$root/old"
cd "$root"
pivot_root . old
cd /
cat /etc/hostname > /proc/sys/kernel/hostname
umount --lazy /old
sh -c "$before"
exec su --login "$user" --command "$command"
