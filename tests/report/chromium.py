"""A headless Chromium of this machine, spoken to over a pipe in the DevTools protocol; no package, no port."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root has to go without
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def program():
    """Path of a Chromium, or None."""
    return next((found for found in map(shutil.which, PROGRAMS) if found), None)


@contextmanager
def chromium(profile):
    """A running Chromium that keeps what it keeps in the folder `profile`."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def fix_numbers():
        os.dup2(theirs_in, 103)  # first out of the way: one of the two may be 3 or 4 already
        os.dup2(theirs_out, 104)
        os.dup2(103, 3)  # the protocol reads from 3 and writes to 4
        os.dup2(104, 4)

    process = subprocess.Popen(
        [program(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=fix_numbers,
        close_fds=False,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    browser = Browser(ours_in, ours_out)
    try:
        yield browser
    finally:
        browser.close()
        process.wait(timeout=10)
        os.close(ours_in)
        os.close(ours_out)


class Browser:
    """Commands go out and answers come back; what happens meanwhile is kept in `events`."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        self._number, self._rest, self.events = 0, b"", []

    def call(self, method, session=None, /, **parameters):
        """The result of a command; raises RuntimeError when Chromium refuses it."""
        self._number += 1
        told = {"id": self._number, "method": method, "params": parameters}
        message = json.dumps(told | ({"sessionId": session} if session else {}))
        os.write(self._writer, message.encode() + b"\0")
        while True:
            answer = self._read(20)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method, session):
        """The first event of a kind from a page, since it began."""
        while not (found := [e for e in self.events if e.get("sessionId") == session and e.get("method") == method]):
            self.events.append(self._read(20))
        return found[0]

    def _read(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            if not select.select([self._reader], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError("Chromium does not answer")
            got = os.read(self._reader, 1 << 20)
            if not got:
                raise RuntimeError("Chromium is gone")
            self._rest += got
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def close(self):
        """End Chromium."""
        self._number += 1
        os.write(self._writer, json.dumps({"id": self._number, "method": "Browser.close"}).encode() + b"\0")

    def page(self, url, *, width=1200, height=900, dark=False, media="", scripts=True):
        """A loaded page, in a window of its own."""
        return Page(self, url, (width, height), dark, media, scripts)


class Page:
    """One page, loaded, with all it logged and asked for."""

    def __init__(self, browser, url, size, dark, media, scripts):
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(*size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=url)
        browser.wait("Page.loadEventFired", self._session)

    def call(self, method, **parameters):
        """A command to this page."""
        return self._browser.call(method, self._session, **parameters)

    def resize(self, width, height=900):
        """As on a window or a phone of that size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def run(self, script):
        """The value of a JavaScript expression; raises RuntimeError with what it threw."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def _events(self, method):
        return [
            event["params"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event.get("method") == method
        ]

    def complaints(self):
        """Everything the page said on the console or threw."""
        said = [str(event["args"]) for event in self._events("Runtime.consoleAPICalled")]
        thrown = [str(event["exceptionDetails"]) for event in self._events("Runtime.exceptionThrown")]
        return said + thrown + [str(event["entry"]) for event in self._events("Log.entryAdded")]

    def requests(self):
        """Addresses of everything the page asked for."""
        return [event["request"]["url"] for event in self._events("Network.requestWillBeSent")]

    def dialogs(self):
        """Texts of everything that popped up."""
        return [event["message"] for event in self._events("Page.javascriptDialogOpening")]

    def html(self):
        """The page as it is now, also where scripts do not run."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        return self.call("DOM.getOuterHTML", nodeId=root)["outerHTML"]

    def screenshot(self, path, full=True):
        """A picture, PNG, of the whole page or of what is in view."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        """Close the page; its events are kept."""
        self._browser.call("Target.closeTarget", targetId=self._target)
