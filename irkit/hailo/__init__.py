"""What surrounds Hailo's tools: model scripts, calibration sets, logs, HEF files. Nothing here needs those tools."""
