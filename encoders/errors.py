"""Errors of `encoders`, one tree.

    EncoderError      a model cannot be found, loaded or trusted; trying again does not help

A wrong argument of a call is a ValueError, as everywhere in Python.
"""

from __future__ import annotations


class EncoderError(Exception):
    """A model cannot be found, loaded or trusted. The text names what was asked for and the remedy."""
