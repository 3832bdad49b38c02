#!/bin/bash
# bash nested.sh COMMAND…: run it in a user namespace in which everybody is who they are, but whose limits are its own.
set -eu
coproc unshare --user bash -c 'read -r && exec "$@" <&3 >&4' sh "$@" 3<&0 4>&1
for map in uid_map gid_map; do
    until echo "0 0 4294967295" 2> /dev/null > "/proc/$COPROC_PID/$map"; do sleep 0.1; done
done
echo >&"${COPROC[1]}"
wait "$COPROC_PID"
