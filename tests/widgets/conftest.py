"""The other end of a widget's wire, as a browser has it; and pages read without one."""

import base64
import json
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest


class Wire:
    """What the kernel sent since the wire was tapped, and a way to answer."""

    def __init__(self, widget):
        self.widget, self.sent = widget, []

    def record(self, data=None, metadata=None, buffers=None):
        data = json.loads(json.dumps(data))  # a browser gets JSON
        self.sent.append((data, [bytes(one) for one in buffers or ()]))

    def custom(self, kind):
        """(content, buffers) of the messages of a kind."""
        found = [(m["content"], b) for m, b in self.sent if m["method"] == "custom"]
        return [(content, buffers) for content, buffers in found if content["kind"] == kind]

    def says(self, **content):
        """A message from the browser."""
        self._hand({"method": "custom", "content": content})

    def sets(self, **state):
        """Traits changed in the browser."""
        self._hand({"method": "update", "state": state, "buffer_paths": []})

    def _hand(self, data):
        self.widget._handle_msg({"content": {"data": data}, "buffers": []})


@pytest.fixture
def wire(monkeypatch):
    """Tap the wire of a widget."""

    def tap(widget):
        tapped = Wire(widget)
        monkeypatch.setattr(widget.comm, "send", tapped.record)
        return tapped

    return tap


class Page(HTMLParser):
    """Scripts of a page by their id (or type), its title, and the names of its elements."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.title, self.elements = {}, "", []
        self._inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        named = dict(attributes)
        self._inside = named.get("id", named.get("type")) if tag == "script" else tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "title":
            self.title += data
        elif self.elements and self.elements[-1] == "script" and self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data

    def __getitem__(self, name):
        """The state, the record or the packed pixels."""
        return json.loads(self.scripts[name])

    @property
    def note(self):
        return self["state"]["_layout"]["note"]

    def images(self):
        """(case, stack) to (16-bit magnitude, 16-bit phase or None): (slice, coil, y, x)."""
        packed, found = self["pixels"], {}
        for case in self["state"]["_first"]:
            grid = case["shape"][2:]
            for stack in case["stacks"]:
                shape = (stack["slices"], stack["coils"], *grid)
                keys = stack["magnitude"], stack["phase"]
                both = [None if key is None else decoded(packed[key], shape) for key in keys]
                found[case["name"], stack["name"]] = tuple(both)
        return found


def decoded(packed, shape):
    """Sums of differences along x; bytes of 16 bits are high ones first, then low ones."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8)
    bits, kind = packed["kind"].split()
    assert int(packed["nx"]) == shape[-1]
    if bits == "16":
        high, low = data.reshape(2, -1).astype(int)
        words = np.cumsum((256 * high + low).reshape(shape), axis=-1) % 65536
    else:
        words = np.cumsum(data.reshape(shape).astype(int), axis=-1) % 256
        words = 256 * words if kind == "phase" else 257 * words
    return (words + 32768) % 65536 - 32768 if kind == "phase" else words


@pytest.fixture(scope="session")
def read_page():
    return Page
