"""A headless Chromium driven through its debugging pipe, with nothing but the standard library."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run --disable-extensions "
    "--disable-component-update --disable-sync --disable-default-apps --hide-scrollbars --remote-debugging-pipe "
    "--disable-dev-shm-usage --host-resolver-rules=MAP\x00*\x00~NOTFOUND"
)
PATIENCE = 60


def find_chromium():
    """The browser of this machine; the test is skipped without one."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    return found


def _high(descriptor):
    """The same pipe under a number above those that the browser takes for its own, 3 and 4."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


class Browser:
    """One page, with what it asked for and what went wrong on it."""

    def __init__(self, profile: Path):
        told, heard = (tuple(_high(end) for end in os.pipe()) for _ in range(2))
        words = [word.replace("\x00", " ") for word in FLAGS.split(" ")]

        def connect():
            os.dup2(told[0], 3)
            os.dup2(heard[1], 4)

        self.process = subprocess.Popen(
            [find_chromium(), *words, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(told[0])
        os.close(heard[1])
        self.told, self.heard, self.rest, self.count, self.session = told[1], heard[0], b"", 0, None
        self.requests, self.problems, self.events = [], [], []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.told, json.dumps(message).encode() + b"\0")
        number, end = self.count, time.monotonic() + PATIENCE
        while True:
            answer = self._next(end)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self, end):
        while b"\0" not in self.rest:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.heard], [], [], left)[0], "the browser does not answer"
            self.rest += os.read(self.heard, 2**20)
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event):
        name, params = event.get("method"), event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif name == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"])
        elif name == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])

    def open(self, path: Path):
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, script):
        """The value of an expression on the page; promises are waited for."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script):
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < end, f"never: {script}"
            time.sleep(0.02)

    def press(self, key):
        codes = {
            "ArrowLeft": 37,
            "ArrowRight": 39,
            "ArrowDown": 40,
            "Backspace": 8,
            " ": 32,
            "Escape": 27,
            "Enter": 13,
            "Tab": 9,
        }
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        code = codes[key]
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, out: Path, width, height, *, dark=False, scale=1.0, mobile=False):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        time.sleep(0.3)
        out.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        os.close(self.told)
        os.close(self.heard)
