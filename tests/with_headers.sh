#!/bin/sh
# Run a command where BCC finds kernel headers and tracefs. Debian's headers of any release do for tracepoint programs.
# Start it by `unshare --mount`, which keeps the mounts and the link off this machine.
set -eu
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
if [ ! -e "/lib/modules/$(uname -r)/build" ]; then
    build=$(ls -d /usr/src/linux-headers-*-amd64 | tail -n 1)
    mount -t tmpfs tmpfs /lib/modules
    mkdir "/lib/modules/$(uname -r)"
    ln -s "$build" "/lib/modules/$(uname -r)/build"
    ln -s "${build%-amd64}-common" "/lib/modules/$(uname -r)/source"
fi
exec "$@"
