"""Errors of parsing."""
