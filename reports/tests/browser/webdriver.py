"""Just enough of the W3C WebDriver protocol to drive Chromium by its chromedriver, with the standard library only."""

import base64
import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "ArrowLeft": "\ue012", "ArrowRight": "\ue014", "End": "\ue010", "Space": " "}


class Failure(Exception):
    """What the driver answered instead of a value."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    """One session: a window, and what it logged."""

    def __init__(self, port, session):
        self.port = port
        self.session = session

    def ask(self, method, path, body=None, timeout=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            content = None if method == "GET" else json.dumps(body or {})
            connection.request(method, f"/session/{self.session}{path}", content, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise Failure(f"{method} {path}: {answer['error']}: {answer.get('message', '')[:500]}")
        return answer

    def open(self, address):
        self.ask("POST", "/url", {"url": address})

    def run(self, script, *arguments):
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_later(self, script, *arguments):
        """The script calls its last argument with the answer."""
        return self.ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", {ELEMENT: element})
        self.ask("POST", f"/element/{element}/click")

    def click_at(self, selector, x, y):
        """Clicks at a place within an element, from its upper left corner."""
        box = self.run("const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); return [b.left, b.top]", selector)
        move = {"type": "pointerMove", "duration": 0, "x": round(box[0] + x), "y": round(box[1] + y)}
        steps = [move, {"type": "pause", "duration": 60}, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}]})

    def point_at(self, selector, x, y):
        box = self.run("const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.left, b.top]", selector)
        moves = [{"type": "pointerMove", "duration": 0, "x": round(box[0] + x + shift), "y": round(box[1] + y)} for shift in (3, 0)]
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves}]})

    def press(self, *keys):
        steps = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def type(self, selector, text):
        self.ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? null", selector)

    def back(self):
        self.ask("POST", "/back")

    def forward(self):
        self.ask("POST", "/forward")

    def size(self, width, height):
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def prefer(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def screenshot(self, path, whole=False):
        params = {"format": "png", "captureBeyondViewport": whole}
        picture = self.ask("POST", "/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": params})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture))

    def print_to(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.ask("POST", "/print", {"background": True})))

    def log(self, kind):
        """The entries since the last time that they were asked for: kind is `browser` or `performance`."""
        return self.ask("POST", "/se/log", {"type": kind})

    def wait_for(self, script, what, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(f"return Boolean({script})"):
                return
            time.sleep(0.05)
        raise Failure(f"waited {seconds} s for {what}")


@contextlib.contextmanager
def browser(driver, chromium):
    """Starts a driver and a headless browser with a fresh profile; both end with the block."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={profile}"]
            if os.geteuid() == 0:
                # Chromium refuses to sandbox what runs as root, as in a container.
                arguments.append("--no-sandbox")
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": chromium, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            answer = started(port, {"capabilities": {"alwaysMatch": wanted}})
            one = Browser(port, answer["sessionId"])
            try:
                yield one
            finally:
                one.ask("DELETE", "")
        finally:
            process.terminate()
            process.wait()


def started(port, body):
    for _ in range(200):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("POST", "/session", json.dumps(body), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        except ConnectionRefusedError:
            time.sleep(0.05)
            continue
        if "error" in answer:
            raise Failure(f"no session: {answer['error']}: {answer.get('message', '')[:500]}")
        return answer
    raise Failure("the driver does not listen")
