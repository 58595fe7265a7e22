"""Reading tokens: where the parser stands, and the types and tensors of the text form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from irkit.errors import ModelError
from irkit.tensor import SparseTensor, Tensor, from_bytes
from irkit.text import tensors as elements
from irkit.text.lexer import Token, error_at, tokens_of, unbare
from irkit.types import (
    Dim,
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    Shape,
    SparseTensorType,
    TensorType,
    ValueType,
)

_SCALARS = frozenset({"number", "string", "bytes"})


class Cursor:
    """A position in the tokens of a text, with what every rule of the grammar needs."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.tokens = tokens_of(text, source)
        self.index = 0

    @property
    def token(self) -> Token:
        """The token to be read next."""
        return self.tokens[self.index]

    def expected(self, what: str, at: Token | None = None) -> ModelError:
        """An error at a token (the next one unless said): this was expected there."""
        token = at or self.token
        found = "the end of the text" if token.kind == "end" else repr(self.raw(token))
        return self.wrong(f"expected {what}, found {found}", token)

    def wrong(self, message: str, at: Token) -> ModelError:
        """An error about the meaning of a token."""
        return error_at(self.text, at.start, message, self.source)

    def raw(self, token: Token) -> str:
        """The token as it stands in the text."""
        return {"value": "%", "label": "@", "mark": "!"}.get(token.kind, "") + token.text

    def next(self) -> Token:
        """Read a token."""
        token = self.tokens[self.index]
        self.index += 1
        return token

    def has(self, text: str) -> bool:
        """Whether the next token is this punctuation or word."""
        token = self.tokens[self.index]
        return token.text == text and token.kind in ("punctuation", "name")

    def skip(self, text: str) -> bool:
        """Read the next token if it is this punctuation or word."""
        if self.has(text):
            self.index += 1
            return True
        return False

    def expect(self, text: str) -> None:
        """Read this punctuation."""
        if not self.skip(text):
            raise self.expected(repr(text))

    def take(self, kind: str, expected: str) -> Token:
        """Read a token of a kind."""
        if self.token.kind != kind:
            raise self.expected(expected)
        return self.next()

    def string(self) -> str:
        """Read a string in double quotes."""
        return self.text_of(self.take("string", "a string in double quotes"))

    def text_of(self, token: Token) -> str:
        """What a bare or quoted token says."""
        try:
            return unbare(token.text)
        except ValueError:
            raise self.expected("a string with valid escapes", token) from None

    def word(self, expected: str) -> str:
        """Read an identifier or a string."""
        if self.token.kind not in ("name", "string"):
            raise self.expected(expected)
        return self.text_of(self.next())

    def integer(self) -> int:
        """Read an integer."""
        token = self.take("number", "an integer")
        try:
            return int(token.text, 0)
        except ValueError:
            raise self.expected("an integer", token) from None

    def number(self) -> float:
        """Read a number."""
        return elements.float_of(self.take("number", "a number").text)

    def hex_bytes(self) -> bytes:
        """Read `x"..."`."""
        token = self.take("hex", 'bytes as x"..."')
        try:
            return bytes.fromhex(token.text[2:-1])
        except ValueError:
            raise self.expected("an even number of hex digits", token) from None

    def listed(self, close: str) -> bool:
        """Whether another item of a list stands before `close`; reads the comma between items, and `close` itself."""
        if self.skip(close):
            return False
        opened = self.tokens[self.index - 1]
        if opened.kind == "punctuation" and opened.text in "([{":
            return True
        self.expect(",")
        return not self.skip(close)

    def texts(self) -> dict[str, str]:
        """Read `{"key": "value", ...}`."""
        self.expect("{")
        found = {}
        while self.listed("}"):
            key = self.string()
            self.expect(":")
            found[key] = self.string()
        return found


class TypeReader(Cursor):
    """Reads value types."""

    def dtype(self) -> DType:
        """Read an element type."""
        token = self.take("name", "an element type such as float32")
        try:
            return DType.parse(token.text)
        except ValueError:
            raise self.expected("an element type such as float32", token) from None

    def shape(self) -> Shape | None:
        """Read `[1,N,?]` or `[*]`."""
        self.expect("[")
        if self.skip("*"):
            self.expect("]")
            return None
        dims: list[Dim] = []
        while self.listed("]"):
            dims.append(self.dim())
        return tuple(dims)

    def dim(self) -> Dim:
        """Read a dimension."""
        if self.skip("?"):
            return None
        return self.integer() if self.token.kind == "number" else self.word("a dimension: a number, a symbol or ?")

    def static_type(self) -> TensorType:
        """Read the type of a constant."""
        start = self.token
        type = TensorType(self.dtype(), self.shape())
        if not type.is_static:
            raise self.wrong("a constant has a shape of numbers", start)
        return type

    def value_type(self) -> ValueType | None:
        """Read any value type; `?` for one that is not known."""
        if self.skip("?"):
            return None
        after = self.tokens[self.index + 1]
        if after.text != "(" or after.kind != "punctuation":
            return TensorType(self.dtype(), self.shape())
        kind = self.take("name", "a type")
        self.expect("(")
        made = self._compound(kind)
        self.expect(")")
        return made

    def _compound(self, kind: Token) -> ValueType:
        if kind.text == "sparse":
            return SparseTensorType(self.dtype(), self.shape())
        if kind.text == "seq":
            return SequenceType(self.value_type())
        if kind.text == "optional":
            return OptionalType(self.value_type())
        if kind.text == "map":
            key = self.dtype()
            self.expect(",")
            return MapType(key, self.value_type())
        if kind.text == "opaque":
            domain = self.string()
            self.expect(",")
            return OpaqueType(domain, self.string())
        raise self.expected("a type: sparse(...), seq(...), optional(...), map(...) or opaque(...)", kind)


class TensorReader(TypeReader):
    """Reads constant data.

    Args:
        weights: where tensors given by their SHA-256 are found.
    """

    def __init__(self, text: str, source: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__(text, source)
        self.weights = weights

    def tensor(self, type: TensorType) -> Tensor:
        """Read the data of a tensor of that type."""
        assert type.shape is not None
        shape: tuple[int, ...] = tuple(dim for dim in type.shape if isinstance(dim, int))
        token = self.token
        if token.kind == "sha":
            return self._by_digest(self.next(), type.dtype, shape)
        if token.kind == "name" and token.text not in ("true", "false"):
            return self._built(self.next(), type.dtype, shape)
        if token.kind == "hex":
            data = self.hex_bytes()
            nbytes = (math.prod(shape) * type.dtype.bits + 7) // 8
            if len(data) != nbytes:
                raise self.wrong(f"{type} has {nbytes} bytes, found {len(data)}", token)
            return from_bytes(type.dtype, shape, data)
        if self.has("..."):
            raise self.wrong('the data was elided; print the model with weights="hash" or "all" to read it back', token)
        return self._listed(token, type.dtype, shape)

    def _listed(self, start: Token, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        items: list[str] = []
        depth = 0
        while True:
            if self.skip("["):
                depth += 1
                if not self.skip("]"):
                    continue
                depth -= 1
            else:
                if self.token.kind not in _SCALARS and self.token.text not in ("true", "false"):
                    raise self.expected("a number, a list, splat(...), zeros, ones, iota, random(...) or sha256:...")
                items.append(self.next().text)
            while depth and self.skip("]"):
                depth -= 1
            if not depth:
                break
            self.expect(",")
        try:
            return elements.tensor_of(dtype, shape, items)
        except ValueError as error:
            raise self.expected(str(error), start) from None

    def _built(self, how: Token, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        if how.text in ("ones", "iota") and not dtype.is_native:
            raise self.wrong(f"{how.text} makes no {dtype.label}; give its bits as splat(0x...) or a list", how)
        try:
            if how.text in ("zeros", "ones"):
                return Tensor.splat(int(how.text == "ones"), shape, dtype)
            if how.text == "splat":
                self.expect("(")
                item = elements.tensor_of(dtype, (), [self.next().text])
                self.expect(")")
                return Tensor.splat(item.numpy()[()], shape, dtype)
            if how.text == "iota":
                return elements.iota_tensor(dtype, shape)
            if how.text == "random":
                return elements.random_tensor(dtype, shape, **self._options())
        except ValueError as error:
            raise self.expected(str(error), how) from None
        raise self.expected("data: a number, a list, splat(...), zeros, ones, iota, random(...) or sha256:...", how)

    def _options(self) -> dict[str, Any]:
        self.expect("(")
        options: dict[str, Any] = {}
        while self.listed(")"):
            token = self.take("name", "seed, low or high")
            if token.text not in ("seed", "low", "high"):
                raise self.expected("seed, low or high", token)
            self.expect("=")
            options[token.text] = self.integer() if token.text == "seed" else self.number()
        return options

    def _by_digest(self, token: Token, dtype: DType, shape: tuple[int, ...]) -> Tensor:
        found = self.weights.get(token.text.removeprefix("sha256:"))
        if found is None:
            raise self.wrong(
                "these weights are not at hand; parse with weights= of a model or mapping that has them", token
            )
        if found.dtype == dtype and found.shape == shape:
            return found
        if dtype == DType.STRING or dtype.bits * math.prod(shape) != found.dtype.bits * found.size:
            raise self.wrong(f"the weights of this digest are {found.dtype.label}{list(found.shape)}", token)
        return from_bytes(dtype, shape, found.tobytes())

    def sparse_tensor(self) -> SparseTensor:
        """Read `sparse(float32[3,4], float32[2] [...], int64[2] [...])`."""
        start = self.token
        if not self.skip("sparse"):
            raise self.expected("sparse(...)")
        self.expect("(")
        dense = self.static_type()
        self.expect(",")
        values = self.tensor(self.static_type())
        self.expect(",")
        indices = self.tensor(self.static_type())
        self.expect(")")
        if values.dtype != dense.dtype:
            raise self.wrong(f"values of {values.dtype.label} in a tensor of {dense.dtype.label}", start)
        assert dense.shape is not None
        return SparseTensor(values, indices, [dim for dim in dense.shape if isinstance(dim, int)])
