#!/bin/sh
# Process 1 of the lab's VM: prepares the machine, starts the agent, and ends the machine when the agent ends.
export PATH=/opt/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe -a virtio_console virtio_net qemu_fw_cfg 9p 9pnet_virtio

# Under the name that udev would give it, once the driver has heard of it from QEMU.
until wire=$(grep -lx wire /sys/class/virtio-ports/*/name 2> /dev/null); do sleep 0.01; done
mkdir /dev/virtio-ports
ln -s "../$(basename "${wire%/name}")" /dev/virtio-ports/wire

hostname lab
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0

# The agent is process group leader of its own session, so that interrupting a cell never reaches process 1.
setsid --wait /opt/lab/bin/python /sys/firmware/qemu_fw_cfg/by_name/opt/first-ebpf/guest.py/raw
echo b > /proc/sysrq-trigger
