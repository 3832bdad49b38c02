#!/bin/bash
# bash nested.sh COMMAND…: run it in a user namespace in which everybody is who they are, and whose limits are its own.
set -eu
unshare --user bash -c 'until grep -q . /proc/self/gid_map; do sleep 0.1; done; exec "$@"' sh "$@" &
for map in uid_map gid_map; do
    until echo "0 0 4294967295" 2> /dev/null > "/proc/$!/$map"; do sleep 0.1; done
done
wait $!
