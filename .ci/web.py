"""Uses the page in the folder as a person would, in headless Chromium, and checks what it shows.

Leaves screenshots in the folder: a picture in light and dark, and what a wrong file gives.
"""

import base64
import contextlib
import functools
import http.server
import json
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib

FILE_INPUT, FILES_INPUT = "#picture", "#files"


def png(path, height, width, color):
    """A picture of one color."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(color) * width) * height
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


class Browser:
    """A session of WebDriver."""

    def __init__(self, port, profile):
        self.root = f"http://127.0.0.1:{port}"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        options = {"args": [*arguments, "--window-size=1040,1000"]}
        capabilities = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.root += "/session/" + self.call("POST", "/session", capabilities)["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def script(self, text):
        return self.call("POST", "/execute/sync", {"script": text, "args": []})

    def open(self, url):
        self.call("POST", "/url", {"url": url})
        self.wait("return document.documentElement.dataset.state === 'done'")

    def choose(self, selector, *files):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        text = "\n".join(str(file.resolve()) for file in files)
        self.call("POST", f"/element/{next(iter(found.values()))}/value", {"text": text})

    def wait(self, script):
        end = time.monotonic() + 30
        while not self.script(script):
            assert time.monotonic() < end, f"not within 30 seconds: {script}\n{self.text()}"
            time.sleep(0.05)

    def text(self):
        return self.script("return document.body.innerText")

    def cards(self):
        """The lines of each model that is shown."""
        texts = self.script("return [...document.querySelectorAll('.model')].map(model => model.innerText)")
        return [re.split(r"\s*\n\s*", text) for text in texts]

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self.call("POST", "/goog/cdp/execute", command)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


@contextlib.contextmanager
def browser(profile):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        session = Browser(port, profile)
        try:
            yield session
        finally:
            session.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait()


def check_cards(cards, names, likeliest):
    assert [card[0] for card in cards] == names, cards
    for card in cards:
        time_text = next(line for line in card if line.endswith(" ms"))
        assert float(time_text.removesuffix(" ms")) < 1000, card
        shares = [float(line.removesuffix(" %")) for line in card if line.endswith(" %")]
        assert len(shares) == 5 and shares == sorted(shares, reverse=True) and shares[0] > 90, card
        assert card[card.index(f"{shares[0]:.1f} %") - 1] == likeliest, card
        print("  ", *card[:3], "·", likeliest, shares[0], "%")


def main(folder):
    folder = pathlib.Path(folder)
    names = ["v2", "v3-small"]
    models = [f"{name}.safetensors" for name in names]
    png(folder / "blue.png", 240, 320, (16, 32, 240))
    png(folder / "red.png", 32, 32, (240, 32, 16))
    (folder / "text.png").write_text("no picture")
    with served(folder) as url, browser((folder / "profile").resolve()) as page:
        page.open(f"{url}?picture=blue.png")
        check_cards(page.cards(), names, "blue")
        page.screenshot(folder / "light.png")
        page.scheme("dark")
        page.screenshot(folder / "dark.png")
        page.scheme("light")

        page.choose(FILE_INPUT, folder / "red.png")
        page.wait("return document.getElementById('hint').innerText.startsWith('red.png')")
        check_cards(page.cards(), names, "red")
        page.choose(FILE_INPUT, folder / "text.png")
        page.wait("return document.getElementById('error').innerText !== ''")
        assert "text.png: this browser cannot read it as a picture" in page.text(), page.text()

        wrong = folder / "wrong.safetensors"
        wrong.write_text("no model")
        page.choose(FILES_INPUT, folder / models[1], wrong)
        page.wait("return document.querySelector('.model .error') !== null")
        good, bad = page.cards()
        check_cards([good], names[1:], "red")
        assert bad[0] == wrong.stem and bad[1].startswith("not a safetensors file: "), bad
        page.screenshot(folder / "wrong.png")

        page.open(f"{url}?models=missing.safetensors")
        assert "missing.safetensors: 404" in page.text(), page.text()
        for model in models:
            (folder / model).unlink()
        page.open(url)
        assert "Choose model files." in page.text() and page.cards() == [], page.text()


main(*sys.argv[1:])
