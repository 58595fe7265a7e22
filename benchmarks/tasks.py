"""One measurement in a process of its own: `python -m benchmarks.tasks TASK TOOL MODEL`.

Prints seconds (best of a few runs, imports not counted), peak memory, and the peak of heap added, as JSON. Exit code 3:
the tool is not installed.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = {"load": 5, "roundtrip": 3, "edit": 3, "match": 1, "optimize": 1, "fold": 1}

RULES = 200


def patterns() -> list[Callable[..., Any]]:
    """Patterns of two to five operators in a row, all different; most occur nowhere in the model."""
    calls = ("op.Relu({})", "op.LeakyRelu({})", "op.Conv({}, w)", "op.Add({}, s)", "op.LeakyRelu({}, alpha=0.01)")
    found = []
    for length in range(2, 6):
        for chosen in itertools.product(calls, repeat=length):
            text = "x"
            for call in chosen:
                text = call.format(text)
            names = [name for name in "xws" if name in text.replace("alpha", "")]
            found.append(f"lambda op, {', '.join(names)}: {text}")
    step = len(found) / RULES
    return [eval(found[int(index * step)]) for index in range(RULES)]


class IrkitTasks:
    """The tasks with irkit."""

    def __init__(self) -> None:
        self.irkit = importlib.import_module("irkit")
        for name in ("load", "save", "optimize"):
            getattr(self.irkit, name)

    def load(self, path: Path, out: Path) -> None:  # noqa: ARG002
        self.irkit.load(path).close()

    def roundtrip(self, path: Path, out: Path) -> None:
        with self.irkit.load(path) as model:
            self.irkit.save(model, out)

    def edit(self, path: Path, out: Path) -> None:
        with self.irkit.load(path) as model:
            graph = model.graph
            values = [attr.value for node in model.walk() for attr in node.attrs.values()]
            assert values
            graph.values["shared"].name = "renamed"
            for node in graph:
                if node.op == "Relu":
                    new = self.irkit.Node("LeakyRelu", node.inputs, {"alpha": 0.2})
                    graph.insert(new, after=node)
                    graph.replace_value(node.output, new.output)
                    graph.remove(node)
            self.irkit.save(model, out)

    def optimize(self, path: Path, out: Path) -> None:
        result = self.irkit.optimize(path, exact=True, verify="none")
        self.irkit.save(result.model, out)

    def match(self, path: Path, out: Path) -> None:  # noqa: ARG002
        refusal, seen = self.irkit.refuse("it is only counted"), []

        def check(match: Any) -> Any:
            seen.append(match)
            return refusal

        rules = [self.irkit.rule(pattern, lambda x: x, check) for pattern in patterns()]
        with self.irkit.load(path) as model:
            assert self.irkit.apply_rules(model, self.irkit.Context(), rules) == 0
        assert seen

    def fold(self, path: Path, out: Path) -> None:
        with self.irkit.load(path) as model:
            self.irkit.run_passes(model, ["fold-batchnorm"], verify="none")
            assert all(node.op != "BatchNormalization" for node in model.walk())
            self.irkit.save(model, out)


class OnnxTasks:
    """The tasks with the onnx package alone."""

    def __init__(self) -> None:
        self.onnx = importlib.import_module("onnx")

    def load(self, path: Path, out: Path) -> None:  # noqa: ARG002
        self.onnx.load(path)

    def roundtrip(self, path: Path, out: Path) -> None:
        self.onnx.save(self.onnx.load(path), out)


class OnnxIrTasks:
    """The tasks with onnx_ir."""

    def __init__(self) -> None:
        self.ir = importlib.import_module("onnx_ir")
        self.convenience = importlib.import_module("onnx_ir.convenience")

    def load(self, path: Path, out: Path) -> None:  # noqa: ARG002
        self.ir.load(path)

    def roundtrip(self, path: Path, out: Path) -> None:
        self.ir.save(self.ir.load(path), out)

    def edit(self, path: Path, out: Path) -> None:
        model = self.ir.load(path)
        values = [attr.value for node in model.graph for attr in node.attributes.values()]
        assert values
        next(node for node in model.graph if node.name == "start").outputs[0].name = "renamed"
        for node in model.graph:
            if node.op_type == "Relu":
                new = self.ir.Node("", "LeakyRelu", node.inputs, [self.ir.AttrFloat32("alpha", 0.2)])
                self.convenience.replace_nodes_and_values(model.graph, node, [node], [new], node.outputs, new.outputs)
        self.ir.save(model, out)


class OnnxRuntimeTasks:
    """ONNX Runtime's basic optimizations, written to a file."""

    def __init__(self) -> None:
        self.runtime = importlib.import_module("onnxruntime")

    def optimize(self, path: Path, out: Path) -> None:
        options = self.runtime.SessionOptions()
        options.graph_optimization_level = self.runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(out)
        options.log_severity_level = 4
        self.runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxScriptTasks:
    """onnxscript's optimizer."""

    def __init__(self) -> None:
        self.ir = importlib.import_module("onnx_ir")
        self.optimizer = importlib.import_module("onnxscript.optimizer")
        self.rewriter = importlib.import_module("onnxscript.rewriter")
        self.pattern = importlib.import_module("onnxscript.rewriter.pattern")

    def match(self, path: Path, out: Path) -> None:  # noqa: ARG002
        seen = []

        def check(context: Any, **captured: Any) -> bool:  # noqa: ARG001
            seen.append(captured)
            return False

        rules = [self.pattern.RewriteRule(item, lambda _op, x, **_: x, check) for item in patterns()]
        self.pattern.RewriteRuleSet(rules).apply_to_model(self.ir.load(path))
        assert seen

    def optimize(self, path: Path, out: Path) -> None:
        model = self.ir.load(path)
        self.optimizer.optimize(model)
        self.ir.save(self.rewriter.rewrite(model), out)


class OnnxSlimTasks:
    """OnnxSlim."""

    def __init__(self) -> None:
        self.slim = importlib.import_module("onnxslim").slim

    def optimize(self, path: Path, out: Path) -> None:
        self.slim(str(path), str(out))


TOOLS: dict[str, Callable[[], Any]] = {
    "irkit": IrkitTasks,
    "onnx": OnnxTasks,
    "onnx_ir": OnnxIrTasks,
    "onnxruntime": OnnxRuntimeTasks,
    "onnxscript": OnnxScriptTasks,
    "onnxslim": OnnxSlimTasks,
}


def memory(field: str) -> float:
    """A field of /proc/self/status in megabytes (VmHWM: the peak, RssAnon: heap now); NaN where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


class HeapWatch:
    """Samples the heap while a task runs."""

    def __init__(self) -> None:
        self.start = self.peak = memory("RssAnon")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.peak = max(self.peak, memory("RssAnon"))

    def __enter__(self) -> HeapWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()


def main(task: str, tool: str, path: Path) -> int:
    try:
        call = getattr(TOOLS[tool](), task)
    except ImportError:
        return 3
    times = []
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if task in ("optimize", "fold"):
            with HeapWatch() as watch:
                times.append(timed(call, path, Path(folder) / "out.onnx"))
            heap = watch.peak - watch.start
        else:
            times = [timed(call, path, Path(folder) / "out.onnx") for _ in range(REPEATS[task])]
            heap = float("nan")
    print(json.dumps({"seconds": min(times), "peak_mb": memory("VmHWM"), "heap_mb": heap}))
    return 0


def timed(call: Callable[[Path, Path], None], path: Path, out: Path) -> float:
    start = time.perf_counter()
    call(path, out)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
