"""The classifier as an HTTP service around a bundle, on the Hailo device where there is one.

    python service.py codes --port 8000

    POST /predict   {"imu_input": [...]} of shape (9, 2, 100), or an .npy file with Content-Type application/x-npy
    GET  /health    what runs it, and since when
    GET  /metrics   requests, refusals, latency: P50, P95, P99 of the last thousand

Inputs are as the bundle takes them (data.SCALE). Probabilities are calibrated and the prediction set is conformal where
the bundle has a confidence.json (`irkit check --validation`); without one they are null.

Python's own http.server, no framework: four paths and one lock are a page, and the Pi needs no package more. It speaks
plain HTTP and knows no users: put it behind what your network has for that.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from data import BEHAVIOURS

import irkit
from irkit.gates import read_confidence
from irkit.runtime import Pipeline

LARGEST = 1 << 20  # bytes of a request: a sample as JSON is about 40 KB
REMEMBERED = 1000


class RefusedError(Exception):
    """A request that cannot be served: an HTTP status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Predictor:
    """A bundle, one frame at a time: the device is one, requests are many."""

    def __init__(self, bundle: Path, device: str = "auto") -> None:
        self._pipeline = Pipeline(bundle, device)
        self._lock = threading.Lock()
        self._times: collections.deque[float] = collections.deque(maxlen=REMEMBERED)
        self._counts = {"requests": 0, "refused": 0}
        self._began = time.monotonic()
        path = bundle / "confidence.json"
        self._confidence = read_confidence(path) if path.exists() else None
        self.name = self._pipeline.inputs[0]

    def predict(self, array: Any) -> dict[str, Any]:
        """The answer for one sample. Raises `RefusedError`."""
        began = time.perf_counter()
        if array.dtype.kind not in "iuf":
            raise RefusedError(422, f"`{self.name}` takes numbers; found {array.dtype}")
        try:
            with self._lock:
                results = self._pipeline(array)
        except irkit.InputError as error:
            raise RefusedError(422, str(error)) from None
        logits = results["behavior_logits"]
        if len(logits) != 1:
            raise RefusedError(422, f"one sample a request; found {len(logits)}")
        best = int(logits[0].argmax())
        answer: dict[str, Any] = {"class": best, "behaviour": BEHAVIOURS[best], "probabilities": None,
                                  "prediction_set": None, "coverage": None}  # fmt: skip
        if self._confidence is not None:
            sets = self._confidence.prediction_sets(logits)[0]
            answer["probabilities"] = self._confidence.probabilities(logits)[0].round(6).tolist()
            answer["prediction_set"] = [BEHAVIOURS[k] for k in np.flatnonzero(sets)]
            answer["coverage"] = self._confidence.coverage
        answer["latency_ms"] = (time.perf_counter() - began) * 1e3
        with self._lock:
            self._times.append(answer["latency_ms"])
        return answer

    def count(self, *, refused: bool) -> None:
        """One more request."""
        with self._lock:
            self._counts["requests"] += 1
            self._counts["refused"] += refused

    def health(self) -> dict[str, Any]:
        """What runs it."""
        up = time.monotonic() - self._began
        return {"status": "ok", "device": self._pipeline.device, "is_hailo": self._pipeline.is_device,
                "fallback": self._pipeline.fallback or None, "input": self.name, "uptime_s": up}  # fmt: skip

    def metrics(self) -> dict[str, Any]:
        """Counts and latency."""
        with self._lock:
            times, counts = list(self._times), dict(self._counts)
        points = {f"p{share}": float(np.percentile(times, share)) for share in (50, 95, 99)} if times else None
        return {**counts, "latency_ms": points, "latency_of": len(times)}

    def close(self) -> None:
        """Let the device go."""
        self._pipeline.close()


def read_sample(body: bytes, kind: str, name: str) -> Any:
    """The array of a request. Raises `RefusedError`."""
    if kind == "application/x-npy":
        try:
            found = np.load(io.BytesIO(body), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise RefusedError(400, f"no .npy file: {error}") from None
        if not isinstance(found, np.ndarray):
            raise RefusedError(400, "one .npy file, not an .npz")
        return found
    if kind != "application/json":
        raise RefusedError(415, f"Content-Type is application/json or application/x-npy; found {kind or 'none'}")
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"no JSON: {error}") from None
    if not isinstance(plain, dict) or set(plain) != {name}:
        raise RefusedError(422, f'the body is {{"{name}": [...]}}')
    try:
        return np.array(plain[name])
    except (ValueError, OverflowError) as error:
        raise RefusedError(422, f"`{name}` is no array of numbers: {error}") from None


class Handler(BaseHTTPRequestHandler):
    """One request. The server it belongs to has a `predictor`."""

    server: Server
    timeout = 10

    def do_GET(self) -> None:
        pages = {"/health": self.server.predictor.health, "/metrics": self.server.predictor.metrics}
        page = pages.get(self.path)
        self._answer(200, page()) if page else self._answer(404, {"error": f"GET {' or '.join(pages)}"})

    def do_POST(self) -> None:
        try:
            if self.path != "/predict":
                raise RefusedError(404, "POST /predict")
            answer = self.server.predictor.predict(read_sample(self._body(), self._kind(), self.server.predictor.name))
        except RefusedError as refused:
            self.server.predictor.count(refused=True)
            self._answer(refused.status, {"error": str(refused)})
        else:
            self.server.predictor.count(refused=False)
            self._answer(200, answer)

    def _kind(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise RefusedError(411, "Content-Length is needed")
        if int(length) > LARGEST:
            self.close_connection = True
            self._discard(min(int(length), 64 * LARGEST))
            raise RefusedError(413, f"at most {LARGEST} bytes")
        return self.rfile.read(int(length))

    def _discard(self, length: int) -> None:
        """Read what is not wanted: who is cut off while sending does not see the answer."""
        while length > 0 and (piece := self.rfile.read(min(length, LARGEST))):
            length -= len(piece)

    def _answer(self, status: int, plain: dict[str, Any]) -> None:
        data = json.dumps(plain).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name in http.server)
        """Nothing: /metrics tells."""


class Server(ThreadingHTTPServer):
    """Serves a predictor."""

    daemon_threads = True

    def __init__(self, predictor: Predictor, host: str, port: int) -> None:
        super().__init__((host, port), Handler)
        self.predictor = predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the folder that irkit optimize made")
    parser.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="(default: 8000)")
    parser.add_argument("--device", choices=("auto", "hailo", "cpu"), default="auto", help="(default: auto)")
    options = parser.parse_args()
    try:
        predictor = Predictor(options.bundle, options.device)
    except irkit.InputError as error:
        raise SystemExit(f"service.py: {error}") from None
    with Server(predictor, options.host, options.port) as server:
        print(f"http://{options.host}:{server.server_address[1]} on {predictor.health()['device']}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            predictor.close()


if __name__ == "__main__":
    main()
