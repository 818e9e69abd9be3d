#!/usr/bin/env python3
"""A phone in a network namespace: the app's Java service in this machine's Java, with what Android does around it.

phone.py SCENARIO MPT LIBRARIES CLASSES, inside namespaces of its own (tests/phone.rs): MPT is the program that is the
server, LIBRARIES the folder with the native library, CLASSES the folder with the compiled service and the doubles.

What Java cannot do itself, the system does here with copies of its descriptors (pidfd_getfd): making a tun device,
protecting a socket (a mark) and binding it to a network (SO_BINDTODEVICE). A firewall counts and drops what leaves
from a socket without the mark.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

WIFI, CELLULAR = "wlan0", "rmnet0"
TRANSPORT = {WIFI: 1, CELLULAR: 0}
NAME = {WIFI: "wifi", CELLULAR: "cellular"}
ADDRESS = {WIFI: "192.168.1.2", CELLULAR: "10.64.0.2"}
ROUTER = {WIFI: "192.168.1.1", CELLULAR: "10.64.0.1"}
SERVER = "198.51.100.7"
PHONE_INSIDE, SERVER_INSIDE = "10.0.0.1", "10.0.0.2"
PROTECTED = 0x20000
PIDFD_GETFD = 438
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001
SO_BINDTODEVICE, SO_MARK = 25, 36
PATIENCE = 20.0
CLEAR = "mpt:?server=vpn.example.org&address=10.0.0.1/24&peer=10.0.0.2"
# The server's keys are put in their place when the phone is told.
SHORT = CLEAR + "&public_key=SERVER_KEY&preshared_key=PRESHARED_KEY"
TOML = """security.private_key_file = "phone.key"

[tunnel]
address = ["10.0.0.1/24"]
mtu = 1400

[[connection]]
name = "home"
public_key = "SERVER_KEY"
preshared_key = "PRESHARED_KEY"
peer = ["10.0.0.2"]

[[connection.path]]
name = "wifi"
device = "wifi"
local = "0.0.0.0"
remote = "198.51.100.7"

[[connection.path]]
name = "cellular"
device = "cellular"
local = "0.0.0.0"
remote = "198.51.100.7"
"""

libc = ctypes.CDLL(None, use_errno=True)


def run(command, check=True):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def check(condition, *said):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in said))


class World:
    """Two hosts: the phone with two networks, and a server with one address that both lead to."""

    def __init__(self):
        run("""ip netns add phone; ip netns add server
            ip -n phone link set lo up; ip -n server link set lo up
            ip -n server address add 198.51.100.7/32 dev lo""")
        for number, (name, metric) in enumerate([(WIFI, 100), (CELLULAR, 200)]):
            far = f"far{number}"
            run(f"""set -e
                ip link add {name} netns phone type veth peer name {far} netns server
                ip -n phone address add {ADDRESS[name]}/24 dev {name}
                ip -n server address add {ROUTER[name]}/24 dev {far}
                ip -n phone link set {name} up; ip -n server link set {far} up
                ip -n phone route add default via {ROUTER[name]} dev {name} metric {metric}
                for host in phone server; do
                    ip netns exec $host sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done'
                done""")
        rules = f"""table inet guard {{
            counter protected {{ }}
            counter unprotected {{ }}
            chain out {{
                type filter hook output priority 0;
                oifname {{ "{WIFI}", "{CELLULAR}" }} udp dport 4754 meta mark {PROTECTED} counter name protected
                oifname {{ "{WIFI}", "{CELLULAR}" }} udp dport 4754 meta mark != {PROTECTED} counter name unprotected drop
            }}
        }}"""
        subprocess.run(["ip", "netns", "exec", "phone", "nft", "-f", "-"], input=rules, text=True, check=True)

    def translate(self):
        """Puts each network behind a NAT that changes ports."""
        rules = """table ip nat {
            chain out {
                type nat hook postrouting priority srcnat
                udp dport 4754 masquerade to :40000-40099
            }
        }"""
        subprocess.run(["ip", "netns", "exec", "phone", "nft", "-f", "-"], input=rules, text=True, check=True)

    def counted(self, name):
        return int(re.search(r"packets (\d+)", run(f"ip netns exec phone nft list counter inet guard {name}")).group(1))


class Server:
    """The program at the other end. `keys` is the folder with its keys and the phone's public key; none: in the clear."""

    def __init__(self, mpt, folder, keys, knows=True):
        self.mpt, self.control = mpt, f"{folder}/control"
        self.file = f"{folder}/server.toml"
        paths = "".join(
            f'[[connection.path]]\nname = "{NAME[i]}"\nlocal = "{SERVER}"\nmtu = 1500\n'
            f'remote = "{ADDRESS[i] if knows else "0.0.0.0"}"\n'
            for i in (WIFI, CELLULAR)
        )
        security = f'security.private_key_file = "{folder}/server.key"' if keys else 'security = "none"'
        phone = f'public_key = "{keys.phone}"\npreshared_key_file = "{folder}/server.psk"\n' if keys else ""
        with open(self.file, "w") as file:
            file.write(f'{security}\n[tunnel]\naddress = ["{SERVER_INSIDE}/24"]\n[[connection]]\nname = "phone"\n'
                       f'{phone}peer = ["{PHONE_INSIDE}"]\n{paths}')
        self.start()

    def start(self):
        command = ["ip", "netns", "exec", "server", self.mpt, "run", "-c", self.file, "--control", self.control]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            sys.stderr.write("server: " + line)
            if " is up: " in line:
                break
        threading.Thread(target=self.drain, args=(self.process.stderr,), daemon=True).start()

    def drain(self, pipe):
        for line in pipe:
            sys.stderr.write("server: " + line)

    def connection(self):
        report = json.loads(run(f"ip netns exec server {self.mpt} status --json --control {self.control}"))
        return report["connections"][0]

    def remotes(self):
        """Where it takes the phone to be, by path."""
        return {path["name"]: path["remote"] for path in self.connection()["paths"]}

    def stop(self):
        self.process.send_signal(2)
        check(self.process.wait(10) == 0, "the server did not end cleanly")


class System:
    """What Android's system does for an app, at the app's request."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.pid = None
        self.names = {"vpn.example.org": SERVER}
        self.refuses_to_protect = False
        self.devices = []
        self.requests = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection, connection.makefile("rw") as stream:
            for line in stream:
                try:
                    answer = self.obey(line.split())
                except Exception as error:  # told to the app, as Android would
                    answer = f"{type(error).__name__}: {error}".replace("\n", " ")
                stream.write(answer + "\n")
                stream.flush()

    def copy(self, number):
        """The phone's descriptor, here."""
        pidfd = os.pidfd_open(self.pid)
        try:
            copy = libc.syscall(PIDFD_GETFD, pidfd, int(number), 0)
        finally:
            os.close(pidfd)
        if copy < 0:
            raise OSError(ctypes.get_errno(), f"descriptor {number} of the phone")
        return copy

    def obey(self, words):
        self.requests.append(words)
        if words[0] == "establish":
            return self.establish(words[1], [word.split("=", 1) for word in words[2:]])
        if words[0] == "resolve":
            return self.names.get(words[2], "unknown")
        with socket.socket(fileno=self.copy(words[1])) as sock:
            check(sock.getsockname()[1] == 0, "the socket has an address already")
            if words[0] == "protect":
                if self.refuses_to_protect:
                    return "no"
                sock.setsockopt(socket.SOL_SOCKET, SO_MARK, PROTECTED)
            elif words[0] == "bind":
                check(sock.getsockopt(socket.SOL_SOCKET, SO_MARK) == PROTECTED, "bound before it was protected")
                sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, words[2].encode() + b"\0")
        return "ok"

    def establish(self, number, wanted):
        name = f"vpn{len(self.devices)}"
        copy = self.copy(number)
        try:
            fcntl.ioctl(copy, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
        finally:
            os.close(copy)
        self.devices.append((name, wanted))
        commands = ["set -e"]
        for key, value in wanted:
            if key == "mtu":
                commands.append(f"ip -n phone link set {name} mtu {value} up")
            elif key == "address":
                commands.append(f"ip -n phone address add {value} dev {name} noprefixroute")
            elif key == "route":
                commands.append(f"ip -n phone route replace {value} dev {name}")
        run("\n".join(commands))
        return "ok"


class Keys:
    """The server's keys, in files that the program makes, and the phone's public key."""

    def __init__(self, mpt, folder):
        self.server = run(f"{mpt} genkey -o {folder}/server.key").strip()
        run(f"{mpt} genpsk -o {folder}/server.psk")
        with open(f"{folder}/server.psk") as file:
            self.preshared = file.read().strip()
        self.phone = None


class Phone:
    """The Java machine with the service."""

    def __init__(self, system, path, files, keys, libraries, classes, sdk=33):
        self.files, self.keys = files, keys
        os.mkdir(files, 0o700)
        command = ["ip", "netns", "exec", "phone", "java", "-Xcheck:jni", "-XX:-UsePerfData", "-XX:+UseSerialGC",
                   "-XX:TieredStopAtLevel=1", "-XX:-UseDynamicNumberOfCompilerThreads", "--add-opens",
                   "java.base/java.io=ALL-UNNAMED", f"-Djava.library.path={libraries}", f"-Dphone.system={path}",
                   f"-Dphone.files={files}", f"-Dphone.sdk={sdk}", "-cp", classes, "phone.Phone"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        system.pid = self.process.pid

    def tell(self, command):
        command = command.replace("SERVER_KEY", self.keys.server).replace("PRESHARED_KEY", self.keys.preshared)
        self.process.stdin.write(command.replace("\n", "\\n") + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        # -Xcheck:jni and the Java machine's crash reports speak here, too.
        check(answer and "WARNING" not in answer and "FATAL" not in answer, "the Java machine says:", repr(answer))
        return answer.rstrip("\n")

    def do(self, *commands):
        for command in commands:
            answer = self.tell(command)
            check(answer == "ok", command, "->", answer)

    def status(self):
        state, alive, notification, underlying, requests, sentence, *paths = self.tell("status").split("|")
        keys = ["state", "rtt", "sent", "received", "downs", "rate", "share", "carries"]
        return {
            "state": state, "alive": alive == "true", "notification": notification, "underlying": underlying,
            "requests": int(requests), "sentence": sentence,
            "paths": {words[0]: dict(zip(keys, words[1:])) for words in (path.split(" ") for path in paths)},
        }

    def wait(self, what, reached, patience=PATIENCE):
        end = time.monotonic() + patience
        while True:
            status = self.status()
            if reached(status):
                return status
            check(self.process.poll() is None, "the Java machine has ended")
            check(time.monotonic() < end, f"waited {patience} s for {what}:", status)
            time.sleep(0.01)

    def wait_up(self, *names, patience=PATIENCE):
        """Until these paths are up, and no other."""
        up = lambda status: {n for n, path in status["paths"].items() if path["state"] == "up"} == set(names)
        return self.wait(f"{names} to be up", up, patience)

    def wait_failed(self, sentence):
        status = self.wait(sentence, lambda status: status["state"] == "FAILED" and not status["alive"])
        check(sentence in status["sentence"], status["sentence"], "does not say:", sentence)
        check(status["notification"] == "null", "a notification is left:", status)
        check(status["requests"] == 0, "networks are still requested:", status)
        self.check_nothing_is_left()
        return status

    def wait_waiting(self, sentence):
        return self.wait(sentence, lambda s: s["state"] == "WAITING" and sentence in s["sentence"] and s["alive"])

    def stop(self):
        self.do("stop")
        self.wait("the end", lambda status: status["state"] == "OFF" and not status["alive"])
        self.check_nothing_is_left()

    def come(self, *interfaces):
        for interface in interfaces:
            self.do(f"come {TRANSPORT[interface]} {interface}")

    def go(self, *interfaces):
        for interface in interfaces:
            self.do(f"go {TRANSPORT[interface]}")

    def descriptors(self):
        folder = f"/proc/{self.process.pid}/fd"
        targets = []
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                targets.append(os.readlink(f"{folder}/{number}"))
        return sorted(targets)

    def threads(self):
        folder = f"/proc/{self.process.pid}/task"
        names = []
        for task in os.listdir(folder):
            # One that ends meanwhile is none.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"{folder}/{task}/comm") as name:
                names.append(name.read().strip())
        return names

    def check_nothing_is_left(self):
        """After the service has ended: no device, no path's socket, no thread of ours."""
        check("/dev/net/tun" not in self.descriptors(), "a tunnel device is left")
        check("mpt" not in self.threads(), "the tunnel's thread is left")
        # A thread that has nothing to do any more ends by itself.
        end = time.monotonic() + 2
        while "mpt-service" in self.tell("threads"):
            check(time.monotonic() < end, "the service's thread is left")
            time.sleep(0.01)
        check("vpn" not in run("ip -n phone -o link"), "an interface is left")

    def end(self):
        self.process.stdin.close()
        check(self.process.wait(20) == 0, "the Java machine did not end cleanly")


class Scene:
    """All of them."""

    def __init__(self, mpt, libraries, classes, sdk=33, serves=True, knows=True, sealed=True):
        self.folder = tempfile.mkdtemp(dir="/run")
        self.world = World()
        self.system = System(f"{self.folder}/system")
        keys = Keys(mpt, self.folder)
        self.phone = Phone(self.system, f"{self.folder}/system", f"{self.folder}/files", keys, libraries, classes, sdk)
        keys.phone = self.phone.tell("public-key")
        self.make_server = lambda: Server(mpt, self.folder, keys if sealed else None, knows)
        self.server = self.make_server() if serves else None

    def ping(self, count=5, wait=2):
        run(f"ip netns exec phone ping -q -c {count} -i 0.05 -W {wait} -s 1200 {SERVER_INSIDE}")
        run(f"ip netns exec server ping -q -c {count} -i 0.05 -W {wait} -s 1200 {PHONE_INSIDE}")

    def transfer(self, sender, receiver, address, size=4_000_000):
        """Bytes over TCP, compared by their sum."""
        receive = ("import socket,sys,zlib;l=socket.create_server(('%s',9000));print('ready',flush=True);c,_=l.accept();"
                   "s=n=0\nwhile b:=c.recv(65536): s=zlib.crc32(b,s);n+=len(b)\nprint(n,s)" % address)
        send = ("import socket,zlib,random;b=random.Random(1).randbytes(%d);c=socket.create_connection(('%s',9000),20);"
                "c.sendall(b);c.close();print(len(b),zlib.crc32(b))" % (size, address))
        far = subprocess.Popen(["ip", "netns", "exec", receiver, sys.executable, "-c", receive],
                               stdout=subprocess.PIPE, text=True)
        far.stdout.readline()
        sent = subprocess.run(["ip", "netns", "exec", sender, sys.executable, "-c", send],
                              capture_output=True, text=True, timeout=60)
        received = far.communicate(timeout=60)[0]
        check(sent.stdout and sent.stdout == received, "sent", sent.stdout, sent.stderr, "received", received)

    def check_protected(self):
        """Every datagram so far came from a protected socket, and each socket is bound to its network."""
        check(self.world.counted("unprotected") == 0, "datagrams left from sockets that were not protected")
        check(self.world.counted("protected") > 0, "no datagram was counted at all")
        devices = []
        folder = f"/proc/{self.phone.process.pid}/fd"
        for number in os.listdir(folder):
            if not os.readlink(f"{folder}/{number}").startswith("socket:"):
                continue
            with socket.socket(fileno=self.system.copy(number)) as sock:
                if sock.type == socket.SOCK_DGRAM and sock.family in (socket.AF_INET, socket.AF_INET6):
                    check(sock.getsockopt(socket.SOL_SOCKET, SO_MARK) == PROTECTED, sock, "is not protected")
                    devices.append(sock.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16).rstrip(b"\0").decode())
        return sorted(devices)

    def connect(self, text=SHORT):
        self.phone.do("configure " + text)
        self.phone.come(WIFI, CELLULAR)
        self.phone.do("start")
        self.phone.wait_up("wifi", "cellular")


def traffic(scene):
    phone = scene.phone
    phone.do("watch true")
    scene.connect(SHORT + "&dns=10.0.0.2")
    scene.ping()
    # Nothing limits these links: how much of one transfer a path takes is chance, that it takes none of ten is not.
    before = phone.status()["paths"]
    carried = lambda status: all(
        int(status["paths"][name][way]) - int(before[name][way]) > 1_000_000
        for name in ("wifi", "cellular") for way in ("sent", "received"))
    for _ in range(10):
        scene.transfer("phone", "server", SERVER_INSIDE)
        scene.transfer("server", "phone", PHONE_INSIDE)
        if carried(phone.status()):
            break
    status = phone.wait("both paths to carry", carried)
    check(status["sentence"] == "Connected over Wi-Fi and cellular.", status["sentence"])
    check(status["notification"] == status["sentence"], status)
    check(status["underlying"] == "[wlan0, rmnet0]", status)
    check(all(int(status["paths"][name][figure]) > 0 for name in ("wifi", "cellular") for figure in ("rtt", "carries")), status)
    check(scene.check_protected() == [CELLULAR, WIFI])
    name, wanted = scene.system.devices[0]
    for fact in ["mtu", "1280"], ["address", "10.0.0.1/24"], ["route", "10.0.0.0/24"], ["dns", "10.0.0.2"], \
            ["metered", "false"], ["family", "10"]:
        check(fact in wanted, fact, "is not in", wanted)
    seal = scene.server.connection()["seal"]
    check(seal["public_key"] == phone.tell("public-key") and seal["cipher"], seal)
    # Secrets are in files that only the app can read, and nowhere else.
    text = phone.tell("toml")
    check(phone.keys.preshared not in text and 'preshared_key_file = "preshared-1.key"' in text, text)
    kept = {file.name: file.stat().st_mode & 0o777 for file in os.scandir(phone.files)}
    check(kept == {"phone.key": 0o600, "preshared-1.key": 0o600}, kept)
    phone.stop()


def translated(scene):
    """The server knows no address of the phone, whose networks translate addresses and ports."""
    scene.world.translate()
    scene.connect()
    scene.ping()
    scene.transfer("phone", "server", SERVER_INSIDE, 1_000_000)
    scene.transfer("server", "phone", PHONE_INSIDE, 1_000_000)
    remotes = scene.server.remotes()
    for name in (WIFI, CELLULAR):
        address, port = remotes[NAME[name]].split(":")
        check(address == ADDRESS[name] and 40000 <= int(port) <= 40099, remotes)
    # A network that went is found again when it comes back.
    scene.phone.go(WIFI)
    scene.phone.wait_up("cellular", patience=2)
    scene.phone.come(WIFI)
    scene.phone.wait_up("wifi", "cellular")
    scene.ping()
    scene.phone.stop()


def lost(scene):
    phone = scene.phone
    scene.connect()
    # A network that is lost: the traffic goes on over the other one.
    phone.go(WIFI)
    status = phone.wait_up("cellular", patience=1)
    check(status["sentence"] == "Connected over cellular.", status)
    check(status["underlying"] == "[rmnet0]" or phone.wait("it to be told", lambda s: s["underlying"] == "[rmnet0]"))
    scene.ping()
    scene.transfer("server", "phone", PHONE_INSIDE, 1_000_000)
    phone.come(WIFI)
    phone.wait_up("wifi", "cellular", patience=1)
    scene.ping()
    # Both for a while, as in doze, with the cable pulled: back within a second of their return.
    phone.go(WIFI, CELLULAR)
    run(f"ip -n phone link set {WIFI} down; ip -n phone link set {CELLULAR} down")
    phone.wait_waiting("No network.")
    time.sleep(3)
    for name in (WIFI, CELLULAR):
        run(f"ip -n phone link set {name} up; ip -n phone route add default via {ROUTER[name]} dev {name} metric "
            f"{100 + TRANSPORT[name]}")
    # Java sees the address again when the carrier is there.
    time.sleep(0.5)
    began = time.monotonic()
    phone.come(WIFI, CELLULAR)
    phone.wait_up("wifi", "cellular", patience=1)
    print(f"both paths were up {1000 * (time.monotonic() - began):.0f} ms after their networks had returned")
    scene.ping()
    # Another network under the same name, with another address: the old one is told to be lost after the new one.
    run(f"ip -n phone address add 192.168.1.9/24 dev {WIFI}; ip -n phone address del {ADDRESS[WIFI]}/24 dev {WIFI}"
        f"; ip -n phone address add {ADDRESS[WIFI]}/24 dev {WIFI}"
        f"; ip -n phone route replace default via {ROUTER[WIFI]} dev {WIFI} src {ADDRESS[WIFI]} metric 50")
    phone.come(WIFI)
    phone.wait_up("wifi", "cellular")
    scene.ping()
    scene.check_protected()
    phone.stop()


def cost(scene):
    phone = scene.phone
    scene.connect()
    phone.do("mark cellular 1", "marks")
    phone.wait_up("wifi")
    phone.wait("the backup to be left out", lambda status: status["underlying"] == "[wlan0]")
    before = phone.status()["paths"]["cellular"]
    scene.ping(20)
    scene.transfer("phone", "server", SERVER_INSIDE, 1_000_000)
    phone.do("watch true")
    time.sleep(1.2)
    after = phone.status()["paths"]["cellular"]
    check(before["sent"] == after["sent"], "the backup has sent:", before, after)
    phone.go(WIFI)
    status = phone.wait_up("cellular", patience=2)
    check(status["sentence"] == "Connected over cellular.", status)
    scene.ping()
    phone.come(WIFI)
    phone.wait_up("wifi", patience=2)
    scene.ping()
    # Never: Android is not even asked for it.
    phone.do("mark cellular 2", "marks")
    phone.wait("two requests", lambda status: status["requests"] == 2)
    phone.go(WIFI)
    phone.wait_waiting("No network.")
    sent = scene.world.counted("protected")
    time.sleep(1)
    check(scene.world.counted("protected") == sent, "datagrams left although no network may be used")
    phone.do("mark cellular 0", "marks")
    phone.wait_up("cellular", patience=2)
    phone.stop()
    phone.do("mark cellular 2", "mark wifi 2", "mark ethernet 2", "start")
    phone.wait_failed("No network may be used")
    # Marks that change while it is off do not switch it on.
    phone.do("mark wifi 0", "marks")
    phone.wait("the service to end", lambda status: not status["alive"] and status["state"] == "FAILED")


def revoked(scene):
    phone = scene.phone
    scene.connect()
    phone.do("revoke")
    phone.wait_failed("Another VPN has taken over, or the permission was withdrawn.")
    phone.do("may-vpn false", "start")
    phone.wait_failed("Android wants your permission")
    phone.do("may-vpn true", "establishes false", "start")
    phone.wait_failed("Android refuses the VPN: the permission was withdrawn, or another VPN is set to be always on.")
    phone.do("establishes true", "denies-networks true", "start")
    phone.wait_failed("does not have the permission CHANGE_NETWORK_STATE")
    phone.do("denies-networks false", "start")
    phone.wait_up("wifi", "cellular")
    # The system takes the device away without a word.
    run("ip -n phone link del " + scene.system.devices[-1][0])
    scene.phone.wait_failed("The tunnel has ended: the interface")
    scene.system.refuses_to_protect = True
    phone.do("start")
    phone.wait_waiting("The server does not answer")
    scene.system.refuses_to_protect = False
    phone.wait_up("wifi", "cellular")
    scene.check_protected()
    phone.stop()


def restarted(scene):
    phone = scene.phone
    scene.connect()
    scene.ping()
    for _ in range(3):
        phone.stop()
        phone.do("start")
        phone.wait_up("wifi", "cellular")
        scene.ping()
    # A second start changes nothing; Android starts it again without an intent; the phone boots.
    devices = len(scene.system.devices)
    phone.do("start", "again")
    phone.wait_up("wifi", "cellular")
    check(len(scene.system.devices) == devices, "a second tunnel was made")
    phone.stop()
    phone.do("again")
    phone.wait_up("wifi", "cellular")
    phone.stop()
    phone.do("booted")
    time.sleep(0.5)
    check(not phone.status()["alive"], "it started with the phone although nobody asked for that")
    phone.do("boot true", "booted")
    phone.wait_up("wifi", "cellular")
    # The server starts again.
    scene.server.stop()
    scene.server.start()
    phone.wait_up("wifi", "cellular")
    scene.ping()
    phone.stop()
    phone.do("may-vpn false", "booted")
    time.sleep(0.5)
    check(not phone.status()["alive"], "it started without the permission")


def misconfigured(scene):
    phone = scene.phone
    phone.come(WIFI, CELLULAR)
    phone.do("start")
    phone.wait_failed("There is no configuration yet: import one.")
    cases = {
        "": "tunnel",
        "[tunnel": "configuration:1",
        TOML.replace("mtu = 1400", "mtu = 1"): "configuration:5: tunnel.mtu = 1",
        TOML.replace('"wifi"\nlocal', '"eth0"\nlocal'): 'device = "eth0" is no network of a phone; allowed: "wifi"',
        TOML.replace("[[connection.path]]", "[[connection.paths]]"): "configuration:13: connection.paths",
        TOML.replace("SERVER_KEY", "SERVER"): 'configuration:9: connection.public_key = "SERVER"',
        TOML.replace("SERVER_KEY", phone.keys.phone): "this is our own public key",
        TOML.replace("PRESHARED_KEY", "SECRET"): 'preshared_key_file = "preshared-1.key": it has no key: too short',
        TOML.replace("phone.key", "other.key"): 'security.private_key_file = "other.key": there is no such file',
        TOML.replace("198.51.100.7", "198.51.100.700"): "not an IP address",
        "mpt:": 'is no KEY=VALUE',
        "mpt:?address=10.0.0.1/24&peer=10.0.0.2": "has no server=",
        CLEAR + "&public_key=x": "connection.public_key",
        SHORT + "&cellular=sometimes": "allowed are bond, backup, never",
        SHORT + "&key=%22": "characters that no value",
        SHORT + "&key=%zz": "is no value of an mpt: text",
        SHORT.replace("10.0.0.1/24", "10.0.0.1"): "prefix length is missing",
        "\u2603" * 3000: "configuration:1",
    }
    for text, sentence in cases.items():
        answer = phone.tell("configure " + text)
        check(sentence in answer, repr(text), "->", answer, "instead of", sentence)
        # What an older version of the app might have stored.
        if not text.startswith("mpt:") and text:
            phone.do("store " + text, "start")
            phone.wait_failed("The configuration cannot be used: ")
    scene.connect(TOML)
    check(["mtu", "1400"] in scene.system.devices[-1][1], scene.system.devices)
    scene.ping()
    phone.stop()
    phone.do("dns one.example", "start")
    phone.wait_failed("Android refuses the VPN: Bad address one.example")


def silent(scene):
    phone = scene.phone
    phone.do("configure " + SHORT)
    phone.come(WIFI, CELLULAR)
    phone.do("start")
    phone.wait_waiting("Looking for the server over Wi-Fi and cellular.")
    phone.wait_waiting("The server does not answer over Wi-Fi and cellular.")
    phone.wait("the notification to say so", lambda status: status["notification"] == status["sentence"])
    scene.server = scene.make_server()
    phone.wait_up("wifi", "cellular", patience=30)
    scene.ping()
    scene.server.stop()
    phone.wait_waiting("The server does not answer over Wi-Fi and cellular.")
    scene.server.start()
    phone.wait_up("wifi", "cellular", patience=30)
    scene.check_protected()
    phone.stop()


def unresolved(scene):
    phone = scene.phone
    # Without a network: it waits.
    phone.do("configure " + SHORT, "start")
    phone.wait_waiting("No network.")
    check(not scene.system.devices, "a device was made")
    scene.system.names.clear()
    phone.come(WIFI)
    phone.wait_waiting("The server name vpn.example.org does not resolve.")
    scene.system.names["vpn.example.org"] = "2001:db8::7"
    time.sleep(5.5)
    phone.wait_waiting("The server name vpn.example.org does not resolve.")
    scene.system.names["vpn.example.org"] = SERVER
    # At once with the next network; else after some seconds.
    phone.come(CELLULAR)
    phone.wait_up("wifi", "cellular", patience=3)
    scene.ping()
    phone.stop()
    # Addresses need no network to begin with.
    phone.go(WIFI, CELLULAR)
    phone.do("configure " + TOML, "start")
    phone.wait_waiting("No network.")
    check(len(scene.system.devices) == 2, "traffic would leave beside the VPN")
    phone.come(WIFI)
    phone.wait_up("wifi")
    phone.stop()


def hundred(scene):
    phone = scene.phone
    scene.connect()
    phone.stop()

    def rounds(count):
        for number in range(count):
            phone.do("start")
            if number % 10 == 0:
                # Others are stopped in the middle of their start.
                phone.wait_up("wifi", "cellular")
            phone.stop()
        return phone.descriptors(), sorted(phone.threads())

    descriptors, threads = rounds(5)
    after_descriptors, after_threads = rounds(100)
    print(f"after 100 starts and stops: {len(after_descriptors)} descriptors and {len(after_threads)} threads, "
          f"before {len(descriptors)} and {len(threads)}")
    kinds = lambda all: sorted(re.sub(r"\[?\d+\]?", "", one) for one in all)
    check(kinds(after_descriptors) == kinds(descriptors), "before", descriptors, "after", after_descriptors)
    check(after_threads == threads, "before", threads, "after", after_threads)


def old(scene):
    """And in the clear: the server has no keys."""
    phone = scene.phone
    scene.connect(CLEAR)
    check("seal" not in scene.server.connection(), scene.server.connection())
    check(["metered", "false"] not in scene.system.devices[0][1], "Android 7 has no setMetered")
    scene.ping()
    phone.stop()


SCENARIOS = [traffic, translated, lost, cost, revoked, restarted, misconfigured, silent, unresolved, hundred, old]


def main():
    name, mpt, libraries, classes = sys.argv[1:]
    scenario = {scenario.__name__: scenario for scenario in SCENARIOS}[name]
    sdk = 24 if name == "old" else 33
    scene = Scene(mpt, libraries, classes, sdk, serves=name != "silent", knows=name != "translated", sealed=name != "old")
    scenario(scene)
    check(scene.world.counted("unprotected") == 0, "datagrams left from sockets that were not protected")
    scene.phone.end()
    if scene.server:
        scene.server.stop()
    print("passed")


if __name__ == "__main__":
    main()
