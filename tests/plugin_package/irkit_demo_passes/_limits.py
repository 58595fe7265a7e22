"""What modules of the plug-in share; a name with an underscore is no module of passes."""

from __future__ import annotations

SIX = 6.0
