"""étude: a plugin-based experiment framework for the whole life of a language model."""

from etude.registry import plugin

__all__ = ["plugin"]
