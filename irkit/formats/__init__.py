"""How a lint report is written: as text for people, SARIF, and annotations of GitHub."""
