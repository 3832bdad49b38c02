"""The way between a Unix socket and a port in a network of its own, as an unprivileged process takes it."""

import subprocess
import sys

ECHO = """
import errno, socket, sys, threading, time
from pathlib import Path
from helpers.lab import sockets

before = Path("/proc/self/ns/net").readlink()
sockets.leave_network()
assert Path("/proc/self/ns/net").readlink() != before
server = socket.create_server(("127.0.0.1", 5001))

def echo():
    connection, _ = server.accept()
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.close()

threading.Thread(target=echo, daemon=True).start()
sockets.join({sys.argv[1]: 5001})
client = socket.socket(socket.AF_UNIX)
# The file is there a moment before anybody listens.
while error := client.connect_ex(sys.argv[1]):
    assert error in (errno.ENOENT, errno.ECONNREFUSED), errno.errorcode[error]
    time.sleep(0.01)

def send():
    for number in range(256):
        client.sendall(bytes([number]) * 65536)
    client.shutdown(socket.SHUT_WR)

threading.Thread(target=send, daemon=True).start()
came = b""
while data := client.recv(1 << 20):
    came += data
print(came == b"".join(bytes([number]) * 65536 for number in range(256)))
"""


def test_all_bytes_come_back_in_order_and_the_end_is_told(tmp_path):
    done = subprocess.run([sys.executable, "-c", ECHO, tmp_path / "socket"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")
