"""Drives the firmware through the tunnel: ping, UDP echo, TCP echo over a path that is cut and restored."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

MPT, SECURITY = sys.argv[1:]
FIRMWARE = "10.9.0.2"
ECHO = 7
DATAGRAMS = 200
STREAM = os.urandom(1_000_000)
# The port of path two, as in mpt.toml and src/main.rs.
CUT = 4756
FLOOD = 20_000


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def connection():
    return json.loads(run(MPT, "status", "--json"))["connections"][0]


def paths():
    """State of each path by name."""
    return {path["name"]: path for path in connection()["paths"]}


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except (subprocess.CalledProcessError, OSError):
            pass  # mpt is not there yet
        time.sleep(0.05)
    sys.exit(f"FAILED: {what} within {seconds} s")


def states(**expected):
    return lambda: {name: path["state"] for name, path in paths().items()} == expected


def udp_echo():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(2)
    echoed, times = 0, []
    largest = json.loads(run("ip", "-json", "link", "show", "mpt0"))[0]["mtu"] - 28
    for number in range(DATAGRAMS):
        # Whole packets of 4 bytes of payload up to the MTU.
        message = number.to_bytes(4, "big") + bytes(number * 179 % (largest - 3))
        start = time.monotonic()
        udp.sendto(message, (FIRMWARE, ECHO))
        try:
            echoed += udp.recv(2000) == message
            times.append(time.monotonic() - start)
        except TimeoutError:
            pass
    times.sort()
    print(f"UDP: {echoed} of {DATAGRAMS} echoed, median {times[len(times) // 2] * 1e3:.1f} ms")
    return echoed == DATAGRAMS


def tcp_echo(at_third):
    """Sends the stream and reads it back; calls `at_third(1)` and `at_third(2)` on the way."""
    tcp = socket.create_connection((FIRMWARE, ECHO), timeout=30)
    start = time.monotonic()
    sender = threading.Thread(target=lambda: (tcp.sendall(STREAM), tcp.shutdown(socket.SHUT_WR)))
    sender.start()
    received, third = bytearray(), 0
    while chunk := tcp.recv(65536):
        received += chunk
        if len(received) * 3 // len(STREAM) > third:
            third += 1
            if third < 3:
                at_third(third)
    sender.join()
    took = time.monotonic() - start
    print(f"TCP: {len(received)} bytes echoed in {took:.1f} s: {len(received) * 8 / took / 1e6:.2f} Mbit/s each way")
    return received == STREAM


def cut_and_restore(third):
    if third == 1:
        for hook in ("input", "output"):
            run("nft", f"add table inet cut; add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}; "
                f"add rule inet cut {hook} udp dport {CUT} drop")
        wait_for("path two goes down", states(one="up", two="down"))
        print("TCP: path two is cut, and mpt knows")
    else:
        run("nft", "delete table inet cut")
        wait_for("path two comes back", states(one="up", two="up"))
        print("TCP: path two is restored, and mpt knows")


def flood():
    """Datagrams that are not the peer's: as large as any, and as fast as they can be sent."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(FLOOD):
        stranger.sendto(bytes(1472), ("192.168.77.2", CUT))
    print(f"flood: {FLOOD} datagrams of a stranger sent to path two")
    wait_for("both paths are up after the flood", states(one="up", two="up"))


wait_for("both paths come up", states(one="up", two="up"))
seal = connection().get("seal")
print("tunnel: both paths are up,", f"sealed by {seal['cipher']}" if seal else "in the clear")
ok = (seal is None) == (SECURITY == "clear")
for size in ("56", "1400"):
    print("ping:", run("ping", "-c", "5", "-i", "0.2", "-s", size, FIRMWARE).splitlines()[-2])
ok &= udp_echo()
ok &= tcp_echo(cut_and_restore)
flood()
ok &= udp_echo()
for name, path in paths().items():
    keys = ("state", "rtt_us", "tx_datagrams", "rx_datagrams", "downs")
    print(f"path {name}:", ", ".join(f"{key} {path[key]}" for key in keys))
    ok &= path["tx_datagrams"] > 100 and path["rx_datagrams"] > 100
    ok &= path["downs"] == (name == "two")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"quit", (FIRMWARE, ECHO))
sys.exit(0 if ok else "FAILED: an echo was wrong")
