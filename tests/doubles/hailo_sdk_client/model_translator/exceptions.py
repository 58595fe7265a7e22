"""Errors of parsing, by the names that public logs show."""


class ModelTranslatorError(Exception):
    """A model that is not understood."""


class ParsingWithRecommendationException(ModelTranslatorError):
    """Nodes that could not be translated, with end nodes that could."""


class UnsupportedOperationError(ModelTranslatorError):
    """An operator without a layer."""


class UnsupportedShuffleLayerError(ModelTranslatorError):
    """A Reshape or Transpose that is no known pattern."""


class MisspellNodeError(ModelTranslatorError):
    """A start or end name that is no node."""


class InvalidHNError(ModelTranslatorError):
    """An end node that is no layer of its own."""
