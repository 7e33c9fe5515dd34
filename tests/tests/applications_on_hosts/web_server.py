"""A web site: a page with resources and a WebSocket, and a download that lasts until it is told to end.

A line on standard input is sent to every open WebSocket; "finish" ends the downloads. What happens is said on standard output.
"""

import base64
import hashlib
import http.server
import socket
import struct
import sys
import threading
import time

PAGE = b"""<!doctype html><title>site</title>
<link rel="stylesheet" href="/style.css"><img src="/picture.svg">
<script src="/script.js"></script>
"""
SCRIPT = b"""const socket = new WebSocket(`ws://${location.host}/socket`);
socket.onmessage = async message => {
  const fetched = await (await fetch(`/fetched?${message.data}`)).text();
  socket.send(`${message.data} ${fetched}`);
};
"""
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
RESOURCES = {
    "/": ("text/html", PAGE),
    "/style.css": ("text/css", b"body { color: black }"),
    "/script.js": ("text/javascript", SCRIPT),
    "/picture.svg": ("image/svg+xml", PICTURE),
    "/fetched": ("text/plain", b"and fetched"),
}
# RFC 6455
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BLOCK = 4096

sockets = []
finish = threading.Event()
voice = threading.Lock()


def say(text):
    with voice:
        print(text, flush=True)


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/socket":
            return self.socket()
        if path == "/download":
            return self.download()
        if path not in RESOURCES:
            return self.send_error(404)
        kind, body = RESOURCES[path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        say(f"gave {self.path}")

    def download(self):
        """Numbers, as many as there is time for."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        number = 0
        while not finish.is_set():
            block = struct.pack(f">{BLOCK}I", *range(number, number + BLOCK))
            number += BLOCK
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            time.sleep(0.02)
        self.wfile.write(b"0\r\n\r\n")
        say(f"download of {number} numbers ended")

    def socket(self):
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + ACCEPT).digest()).decode())
        self.end_headers()
        sockets.append(self.wfile)
        number = len(sockets)
        say(f"socket {number} open")
        while message := self.message():
            say(f"socket {number} says {message}")
        say(f"socket {number} closed")
        self.close_connection = True

    def message(self):
        """The next text; nothing when the other end closes. Texts are short."""
        head = self.rfile.read(2)
        if len(head) < 2 or head[0] != 0x81:
            return None
        mask = self.rfile.read(4)
        masked = self.rfile.read(head[1] & 0x7F)
        return bytes(octet ^ mask[place % 4] for place, octet in enumerate(masked)).decode()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


server = Server(("::", 8000), Site)
threading.Thread(target=server.serve_forever, daemon=True).start()
say("serving")
for line in sys.stdin:
    text = line.strip()
    if text == "finish":
        finish.set()
        continue
    for wfile in sockets:
        wfile.write(b"\x81" + bytes([len(text)]) + text.encode())
