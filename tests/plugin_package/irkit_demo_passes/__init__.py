"""Passes of a plug-in: each module of this package holds some."""
