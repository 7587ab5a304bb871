"""The console in a browser: what a person does there and sees, and what the browser complains of meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.browser import Browser
from tests.helpers.processes import PATIENCE_S, wait_until

_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
_TEXTS = {"Enter": "\r", " ": " "}
PICTURE = """
(() => {
  const canvas = new OffscreenCanvas(64, 36);
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 64, 36);
  return Array.from(context.getImageData(0, 0, 64, 36).data).join();
})()
"""
"""What is on the page's `video` now, as text that differs between pictures that do."""


class ConsolePage(Browser):
    """A browser for the console, as a context manager; `complaints` has what no user should cause."""

    def __init__(self, directory: Path) -> None:
        """
        Start it.

        Args:
            directory: exists; takes the profile.
        """
        super().__init__(directory)
        self._earlier: list[dict] = []

    def __enter__(self):
        super().__enter__()
        self._call("Runtime.enable")
        self._call("Log.enable")
        return self

    def navigate(self, url: str, timeout_s: float = PATIENCE_S) -> None:
        """Open a page."""
        self._forget()
        super().navigate(url, timeout_s)

    def reload(self) -> None:
        """Open the page anew."""
        self._forget()
        self._call("Page.reload")
        self._wait_for_event("Page.loadEventFired")

    def go_back(self) -> None:
        """Go to the page before this one, which the browser may have kept as it was."""
        self._forget()
        history = self._call("Page.getNavigationHistory")
        before = history["entries"][history["currentIndex"] - 1]
        self._call("Page.navigateToHistoryEntry", entryId=before["id"])
        self._wait_for_event("Page.frameNavigated")

    def _forget(self) -> None:
        """Look for events anew; what was complained of before is kept."""
        self._earlier += self._events
        self._events.clear()

    @property
    def complaints(self) -> list[str]:
        """
        Faults of scripts, and what the policy refused.

        A request that is refused, or not answered, is logged by the browser as well: tests provoke them.
        """
        self.evaluate("1")  # reads what has come meanwhile
        found = []
        for event in [*self._earlier, *self._events]:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in {"error", "warning"}:
                found.append(json.dumps(parameters["args"]))
            elif event.get("method") == "Log.entryAdded" and parameters["entry"]["source"] != "network":
                found.append(parameters["entry"]["text"])
        return found

    def text(self, selector: str = "body") -> str:
        """What an element shows; empty if it is not there or hidden."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def wait_for(self, condition: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait until an expression of the page is true."""
        try:
            wait_until(lambda: self.evaluate(f"Boolean({condition})"), condition, timeout_s)
        except AssertionError as error:
            error.add_note(f"{self.evaluate('location.href')}\n{self.text()}\n{self.complaints}")
            raise

    def wait_for_text(self, text: str, selector: str = "body", timeout_s: float = PATIENCE_S) -> None:
        """Wait until an element shows a text."""
        self.wait_for(
            f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})", timeout_s
        )

    def click(self, label: str, selector: str = "body") -> None:
        """Press the first button or link of a label that is shown, once it is."""
        self.evaluate(_CLICK)
        self.wait_for(f"clickControl({json.dumps(selector)}, {json.dumps(label)})")

    def type(self, selector: str, text: str) -> None:
        """Write into a field, and tell the page."""
        field = f"document.querySelector({json.dumps(selector)})"
        self.wait_for(field)
        self.evaluate(
            f"{field}.focus(), {field}.value = {json.dumps(text)},"
            f"{field}.dispatchEvent(new Event('input', {{bubbles: true}})),"
            f"{field}.dispatchEvent(new Event('change', {{bubbles: true}}))"
        )

    def key(self, name: str) -> None:
        """Press a key, as a person does: Tab moves the focus."""
        parameters = {"key": name, "code": "Space" if name == " " else name, "windowsVirtualKeyCode": _KEYS[name]}
        text = {"text": _TEXTS[name]} if name in _TEXTS else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", **parameters, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def focused(self) -> str:
        """The label of what has the focus."""
        return self.evaluate(
            "document.activeElement.ariaLabel || document.activeElement.innerText || document.activeElement.name || ''"
        )

    def resize(self, width: int, height: int) -> None:
        """Make the window as large as a telephone's, or a desk's."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.wait_for(f"matchMedia('(width: {width}px)').matches")

    def prefer(self, colours: str) -> None:
        """Have a system that is dark or light."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])

    def go_offline(self, offline: bool) -> None:
        """Cut the browser off the network, or connect it again."""
        self._call("Network.enable")
        self._call(
            "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )


_CLICK = """
globalThis.clickControl = (selector, label) => {
  const control = [...document.querySelectorAll(`${selector} :is(button, a)`)].find(
    (each) => each.checkVisibility() && (each.ariaLabel ?? each.innerText).trim() === label && each.ariaBusy !== "true",
  );
  control?.click();
  return control;
};
undefined
"""
"""Finds and clicks in one go: a page that is updated in between would lose what was found."""
