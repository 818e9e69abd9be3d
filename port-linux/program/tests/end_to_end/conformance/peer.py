"""A GRE-in-UDP peer made of scapy. It reads one JSON object a line and answers with one a line.

    {"gre": EXPRESSION, "outer": {...}}

EXPRESSION makes the UDP payload in scapy's words; `echo(n)` in it is an echo request to the other end of the tunnel
with sequence number n, over the version of IP that scapy knows by the name IP or IPv6. `outer` may hold tos, sport,
and udp_checksum. After it, a plain echo request follows as a sentinel: all that the tunnel answers to the
first has come when the sentinel is answered, as the kernel behind the tunnel answers in order.

The answer lists the echo replies that came before the sentinel's: their sequence number and their ECN bits.
"""

import json
import logging
import socket
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import GRE, ICMP, IP, UDP, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, L3RawSocket, Raw  # noqa: E402,F401
from scapy.layers.inet6 import L3RawSocket6  # noqa: E402

LOCAL, REMOTE = sys.argv[1:3]
PORT = 4754
IDENTIFIER = 0x4D50
SENTINEL = 0x8000
# How long the sentinel's answer may take on a busy machine, in seconds.
PATIENCE = 20

outer_is_v6 = ":" in LOCAL
raw = L3RawSocket6() if outer_is_v6 else L3RawSocket()
receiver = socket.socket(socket.AF_INET6 if outer_is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind((LOCAL, PORT))
receiver.settimeout(PATIENCE)


def echo(number, tos=0, source="10.0.0.2"):
    """An IPv4 echo request."""
    return IP(src=source, dst="10.0.0.1", tos=tos) / ICMP(id=IDENTIFIER, seq=number) / b"conformance"


def echo6(number, tos=0):
    """An IPv6 echo request."""
    request = ICMPv6EchoRequest(id=IDENTIFIER, seq=number, data=b"conformance")
    return IPv6(src="fec::1:2", dst="fec::1:1", tc=tos) / request


def send(payload, tos=0, sport=PORT, udp_checksum=None):
    """Sends a UDP payload, with outer headers of scapy's making."""
    ip = IPv6(src=LOCAL, dst=REMOTE, tc=tos) if outer_is_v6 else IP(src=LOCAL, dst=REMOTE, tos=tos)
    raw.send(ip / UDP(sport=sport, dport=PORT, chksum=udp_checksum) / payload)


def reply(datagram):
    """Sequence number and ECN bits of the echo reply in a datagram."""
    packet = GRE(datagram)
    if IPv6 in packet and ICMPv6EchoReply in packet:
        return packet[ICMPv6EchoReply].seq, packet[IPv6].tc & 3
    if IP in packet and ICMP in packet and packet[ICMP].type == 0:
        return packet[ICMP].seq, packet[IP].tos & 3
    return None


sentinels = 0
for line in sys.stdin:
    request = json.loads(line)
    payload = eval(request["gre"])  # the test's own words
    send(payload, **request.get("outer", {}))
    sentinels += 1
    key = request.get("key")
    header = GRE() if key is None else GRE(key_present=1, key=key)
    send(header / echo(SENTINEL + sentinels))
    replies = []
    while True:
        answer = reply(receiver.recv(65536))
        if answer is None:
            continue
        if answer[0] == SENTINEL + sentinels:
            break
        replies.append(answer)
    print(json.dumps({"replies": replies}), flush=True)
